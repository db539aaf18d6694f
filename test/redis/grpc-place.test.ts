import { expect, test } from "vitest";
import { type GrpcWorld, openGrpcWorld } from "./grpc-world.ts";

/** The pool that a call's VM waits in, or how the call ended. */
async function poolOf({ client, deps }: GrpcWorld, metadata: Record<string, string> = {}): Promise<string> {
  const call = client.start("CreateVm", {}, { metadata, deadlineMs: 20_000 });
  const vmId = (await call.headers)["drover-vm-id"];
  if (vmId === undefined) return `${(await call.ended).status}: ${(await call.ended).text}`;
  const record = await deps.store.get(vmId);
  call.cancel();
  return record?.pool ?? "no record";
}

test("a VM runs on the machine that was called, where that has a worker", async () => {
  await using world = await openGrpcWorld();
  await world.addHost({ hostId: "far", bootId: "another-machine" });
  expect(await poolOf(world), "no worker here").toBe("default");
  await world.addHost({ hostId: "older", serves: undefined });
  expect(await poolOf(world), "a worker of an older version does not look at a pool of its own").toBe("default");
  await world.addHost({ hostId: "near" });
  expect(await poolOf(world)).toBe("@near");
  expect(await poolOf(world, { "drover-pool": "default" })).toBe("@near");
  expect(await poolOf(world, { "drover-pool": "gpu" }), "the worker here does not serve that one").toBe("gpu");
});

test("of several hosts on the machine it is the one with most free places, and none that rests", async () => {
  await using world = await openGrpcWorld();
  await world.addHost({ hostId: "large", slots: 3 });
  await world.addHost({ hostId: "small", slots: 2 });
  const breaker = { openUntilMs: Date.now() + 60_000, failures: 3, cause: null };
  await world.addHost({ hostId: "resting", slots: 0, breaker });
  // At the same time, each of them still sees what the others have taken.
  const pools = await Promise.all(Array.from({ length: 4 }, () => poolOf(world)));
  expect(pools.sort()).toEqual(["@large", "@large", "@large", "@small"]);
});

test("DROVER_GRPC_PLACE=any takes any host", async () => {
  await using world = await openGrpcWorld({ env: { DROVER_GRPC_PLACE: "any" } });
  await world.addHost({ hostId: "near" });
  expect(await poolOf(world)).toBe("default");
});

test("DROVER_GRPC_PLACE=here without a worker here is refused with the way out, and nothing is queued", async () => {
  await using world = await openGrpcWorld({ env: { DROVER_GRPC_PLACE: "here" } });
  await world.addHost({ hostId: "far", bootId: "another-machine" });
  expect(await poolOf(world)).toMatch(/^FAILED_PRECONDITION: .*no live worker; start `drover worker` here.*PLACE=any/);
  expect(await world.deps.queue.waiting("default")).toBe(0);
  await world.addHost({ hostId: "near" });
  expect(await poolOf(world)).toBe("@near");
});

test("CVMInfo tells of the host that has the VM, else of the machine that answers", async () => {
  const env = { MANAGER_EOS_VERSION: "eos-api", MANAGER_QEMU_SMP_COUNT: "3", DROVER_GRPC_PLACE: "any" };
  await using world = await openGrpcWorld({ env });
  const own = {
    ovmfVersion: "edk2-stable202408",
    cpuNum: 3,
    cpuType: "EPYC",
    kernelCmd: "quiet console=null",
    eosVersion: "eos-api",
  };
  const cvm = { ovmfVersion: "edk2-7", cpuNum: 8, cpuType: "max", kernelCmd: "console=ttyS0", eosVersion: "eos-host" };
  await world.addHost({ hostId: "host-a", cvm });
  const info = async (id: string) => (await world.client.call("CVMInfo", { id })).message;
  expect(await info("")).toEqual({ id: "", ...own });
  expect(await info("whatever")).toEqual({ id: "whatever", ...own });
  const call = world.client.start("CreateVm", { aaKbsParams: "cc_kbc::http://canary" }, { deadlineMs: 20_000 });
  const id = (await call.headers)["drover-vm-id"] ?? "";
  expect(await info(id), "no host has it yet").toEqual({ id, ...own });
  await world.http.redis.hset(world.http.keys.record(id), "host", "host-a", "state", "running");
  expect(await info(id)).toEqual({ id, ...cvm });
  call.cancel();
});
