import { afterAll, expect, test } from "vitest";
import { VmList } from "../../src/contract/vm-view.ts";
import { makeGpuQemu } from "../helpers/gpu-qemu.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";

const BDF = "0000:41:00.0";
const qemu = makeGpuQemu();
afterAll(() => qemu[Symbol.dispose]());
const world = sharedDrover({
  rom: "obedient",
  worker: false,
  env: { MANAGER_QEMU_BIN_PATH: qemu.binPath, MANAGER_QEMU_GPU_BDF: BDF, MANAGER_MAX_VMS: "6" },
});

test("one VM at a time has the GPU, also across a restart of the worker; who needs it waits, others run without", async () => {
  const drover = world();
  const worker = await drover.runWorker();
  const holder = await drover.submit({ gpu: true });
  expect(await drover.until(holder, "running")).toMatchObject({
    gpu: BDF,
    pool: "default",
    spec: { gpu: true },
    command: expect.stringContaining(`vfio-pci,host=${BDF}`),
  });
  const waiting = await drover.submit({ gpu: true });
  const careless = await drover.submit();
  const never = await drover.submit({ gpu: false });
  for (const vmId of [careless, never]) {
    const vm = await drover.until(vmId, "running");
    expect(vm.gpu).toBeNull();
    expect(vm.command).not.toContain("vfio");
  }
  expect(await drover.get(waiting)).toMatchObject({ state: "queued", epoch: 0, pool: "default" });

  await worker.stop("keep");
  await drover.runWorker();
  await drover.untilEvent(holder, "vm.adopted");
  const later = await drover.submit();
  expect((await drover.until(later, "running")).gpu, "it is held still").toBeNull();
  expect(await drover.get(waiting)).toMatchObject({ state: "queued", epoch: 0 });

  await drover.remove(holder, "?force");
  await drover.until(holder, "removed");
  expect(await drover.until(waiting, "running")).toMatchObject({ gpu: BDF });
});

test("a GPU that somebody else uses costs a VM no attempt: it runs without, or waits if it needs one", async () => {
  const drover = world();
  qemu.occupy();
  const careless = await drover.submit();
  const vm = await drover.until(careless, "running");
  expect(vm).toMatchObject({ gpu: null, attempts: { made: 0 } });
  expect(vm.launches[0]).toMatchObject({ cause: { code: "gpu_busy" } });
  const needing = await drover.submit({ gpu: true });
  const other = await drover.submit();
  await drover.until(other, "running"); // had its turn, and the one that needs the GPU had not
  expect(await drover.get(needing)).toMatchObject({ state: "queued", epoch: 0 });
  qemu.free();
});

test("a VM that must be confidential waits for a host that can; the list and its filter show the pool that was asked for", async () => {
  const drover = world();
  const snp = await drover.submit({ tee: "snp", name: "needs-snp" });
  const plain = await drover.submit({ tee: "none" });
  await drover.until(plain, "running");
  expect(await drover.get(snp)).toMatchObject({ state: "queued", epoch: 0, pool: "default", spec: { tee: "snp" } });
  const { items } = VmList.parse(await (await drover.call("/v1/vms?pool=default&state=queued")).json());
  expect(items.map(({ id }) => id)).toEqual([snp]);
  expect(await drover.client.smembers(drover.keys.pools)).toContain("default+snp");
  const [accepted] = await drover.events(snp);
  expect(accepted?.data).toMatchObject({ pool: "default", reason: "accepted" });
});
