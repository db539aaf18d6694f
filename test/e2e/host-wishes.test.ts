import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { HostDetail } from "../../src/contract/host-view.ts";
import { vmPaths } from "../../src/qemu/vm-paths.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { removeStateDir } from "../helpers/drover.ts";
import { machineOf, pressPowerButton } from "../helpers/machine-of.ts";
import { machinesOf } from "../helpers/machine-traces.ts";
import { startRedisProxy } from "../helpers/redis-proxy.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";

/** A woken worker hears at once; without it, it would hear with the next renewal of its lease, a minute later. */
const LEASE = { DROVER_LEASE: "6m", DROVER_LEASE_RENEW: "1m", DROVER_HOST_LOST_AFTER: "10m" };
const HEARD_MAX_MS = 3_000;

const drover = sharedDrover({ rom: "obedient", worker: false, env: { ...LEASE, MANAGER_INSTANCE_ID: "one" } });

const show = async (id: string) => HostDetail.parse(await (await drover().call(`/v1/hosts/${id}`)).json());
const wish = async (id: string, what: string) => {
  const reply = await drover().call(`/v1/hosts/${id}/${what}`, { method: "POST" });
  expect(reply.status).toBe(200);
};
const untilHost = (id: string, what: string, is: (host: HostDetail) => boolean, timeoutMs = 20_000) =>
  waitFor(
    async () => {
      const host = await show(id);
      return is(host) ? host : undefined;
    },
    { timeoutMs, intervalMs: 50, what: `host ${id} to ${what}` },
  );
const untilHeard = (id: string) => untilHost(id, "hear it", ({ admission }) => admission.heeded, HEARD_MAX_MS);

async function untilRunning(vmId: string) {
  return drover().until(vmId, "running");
}

test("a cordoned host takes no VM, tends those that it has, stays so over a restart of its worker, and is opened again", async () => {
  const world = drover();
  const worker = await world.runWorker();
  const runs = await world.submit();
  const { epoch } = await untilRunning(runs);
  await wish("one", "cordon?note=memory%20errors");
  await untilHeard("one");
  const waits = await world.submit();

  await worker.stop("keep");
  expect((await show("one")).status).toBe("away");
  const next = await world.runWorker();
  expect(await untilHeard("one")).toMatchObject({
    status: "live",
    vms: 1,
    admission: { state: "cordoned", note: "memory errors" },
    machine: { cores: expect.any(Number), qemu: expect.stringMatching(/^\d/) },
    portsTaken: 1,
  });
  const removed = await world.submit();
  await world.remove(removed);
  await world.remove(runs);
  await world.until(runs, "removed"); // the worker does its work, and has a free slot now
  expect([await world.get(waits), epoch]).toMatchObject([{ state: "queued", epoch: 0 }, 1]);

  await wish("one", "resume");
  expect((await untilRunning(waits)).epoch).toBe(1);
  await world.remove(waits, "?force");
  await world.until(waits, "removed");
  expect(await next.stop("keep")).toEqual({ left: 0 });
  expect((await show("one")).status).toBe("gone");
});

test("a host that drains goes on doing so while Redis is away, and is drained with its last VM", async () => {
  const world = drover();
  await using proxy = await startRedisProxy(world.redis.url);
  const worker = await world.runWorker({ DROVER_REDIS_URL: proxy.url });
  const [vmId, second] = [await world.submit(), await world.submit()];
  await untilRunning(vmId);
  await untilRunning(second);
  await wish("one", "drain");
  await untilHeard("one");
  const waits = await world.submit();
  await pressPowerButton(vmPaths({ stateDir: world.stateDir, vmId, epoch: 1 }));
  await world.until(vmId, "completed");
  expect((await show("one")).admission.done, "one is left").toBe(false);

  const resume = proxy.blackhole();
  await pressPowerButton(vmPaths({ stateDir: world.stateDir, vmId: second, epoch: 1 }));
  await waitFor(() => machinesOf(new Set([second])).length === 0, { what: "the guest to have ended" });
  resume();
  proxy.reset(); // else it would find out in ten seconds
  await world.until(second, "completed");
  expect(await untilHost("one", "be drained", ({ admission }) => admission.done)).toMatchObject({
    vms: 0,
    admission: { state: "draining", heeded: true },
  });
  expect(await world.get(waits)).toMatchObject({ state: "queued", epoch: 0 });
  await worker.stop("keep");
});

test("an evacuated host's VMs run on another one, never twice, with no attempt used; what nobody else can run stays", async () => {
  const world = drover();
  await using scope = new Scope();
  const dir = scope.own(mkdtempSync(join(tmpdir(), "drv-ev-")), removeStateDir);
  await wish("one", "resume");
  const one = await world.runWorker({ DROVER_POOLS: "default,solo" });
  const vmIds = [await world.submit(), await world.submit()];
  const solo = await world.submit({ pool: "solo" });
  for (const vmId of [...vmIds, solo]) expect((await untilRunning(vmId)).host).toBe("one");
  const { pid } = machineOf(solo);

  await wish("one", "evacuate");
  expect(await untilHost("one", "hold all", ({ admission }) => admission.held === 3)).toMatchObject({ vms: 3 });
  const watching = new AbortController();
  const seenAtOnce = countMachines(vmIds, watching.signal);
  const two = await world.runWorker({ DROVER_STATE_DIR: dir, MANAGER_INSTANCE_ID: "two" });
  for (const vmId of vmIds) {
    const moved = await waitFor(
      async () => {
        const vm = await world.get(vmId);
        return vm.host === "two" && vm.state === "running" ? vm : undefined;
      },
      { timeoutMs: 30_000, what: "the VM to run on the other host" },
    );
    expect(moved).toMatchObject({ epoch: 2, attempts: { made: 0 }, cause: null });
    expect((await world.events(vmId)).map(({ data }) => data["reason"])).toContain("released");
  }
  watching.abort();
  expect(await seenAtOnce, "of one VM").toBe(1);
  expect(await show("one")).toMatchObject({ vms: 1, vmIds: [solo], admission: { done: false, held: 1 } });
  expect(machineOf(solo).pid, "it was left in peace").toBe(pid);

  await world.remove(solo, "?force");
  await untilHost("one", "be evacuated", ({ admission }) => admission.done);
  await one.stop("keep");
  for (const vmId of vmIds) await world.remove(vmId, "?force");
  for (const vmId of vmIds) await world.until(vmId, "removed");
  await two.stop("keep");
});

/** The most processes that any of these VMs has had at one moment. */
async function countMachines(vmIds: readonly string[], signal: AbortSignal): Promise<number> {
  let most = 0;
  while (!signal.aborted) {
    for (const vmId of vmIds) most = Math.max(most, machinesOf(new Set([vmId])).length);
    await delay(20);
  }
  return most;
}
