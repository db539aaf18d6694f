import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findByUuid } from "../../src/qemu/process-scan.ts";
import { isAlive } from "../../src/runtime/process-identity.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { type Drover, nextPorts, removeStateDir, startDrover } from "../helpers/drover.ts";
import { machineOf } from "../helpers/machine-of.ts";
import { startRedisProxy } from "../helpers/redis-proxy.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorkerProcess } from "../helpers/worker-process.ts";

/** The README's table of policies, row by row: what may run twice, what may end early. */
const AFTER_MS = 5_000;
const TIMING = {
  DROVER_LEASE: "1500ms",
  DROVER_LEASE_RENEW: "300ms",
  DROVER_HOST_LOST_AFTER: `${AFTER_MS}ms`,
  DROVER_RECONCILE_INTERVAL: "500ms",
  DROVER_STOP_POWERDOWN_TIMEOUT: "1s",
};
const POLICIES = {
  hold: { DROVER_HOST_LOST: "hold" },
  "rerun, keep": { DROVER_HOST_LOST: "rerun", DROVER_ON_PARTITION: "keep" },
  "rerun, stop": { DROVER_HOST_LOST: "rerun", DROVER_ON_PARTITION: "stop" },
} as const;
type Policy = keyof typeof POLICIES;
type Fault = "killed" | "frozen" | "cut off";

/** A second machine of the fleet: its own state directory, ports and connection to Redis, and a worker that can be lost. */
async function startHost(fleet: Drover, id: string, policy: Policy) {
  const scope = new Scope();
  const stateDir = scope.own(mkdtempSync(join(tmpdir(), "drv-")), removeStateDir);
  const proxy = scope.own(await startRedisProxy(fleet.redis.url), (opened) => opened[Symbol.asyncDispose]());
  const ports = nextPorts();
  const env: Record<string, string> = {
    ...fleet.env,
    ...TIMING,
    ...POLICIES[policy],
    DROVER_STATE_DIR: stateDir,
    DROVER_REDIS_URL: proxy.url,
    MANAGER_INSTANCE_ID: id,
    MANAGER_QEMU_HOST_FWD_RANGE: `${ports.first}-${ports.last}`,
  };
  const start = async () => scope.own(await startWorkerProcess(env), (worker) => worker.kill());
  return { stateDir, proxy, start, worker: await start(), [Symbol.asyncDispose]: () => scope.close() };
}

/** Notes every process that ever was of the VM, with the times between which it was seen alive. */
function watchCopies(vmId: string) {
  const seen = new Map<number, { first: number; last: number }>();
  const look = (now: number) => {
    for (const { pid } of findByUuid(vmId)) seen.set(pid, { first: seen.get(pid)?.first ?? now, last: now });
  };
  const timer = setInterval(() => look(performance.now()), 25);
  return {
    overlaps: () => {
      const lives = [...seen.values()].sort((a, b) => a.first - b.first);
      return lives.slice(1).filter(({ first }, index) => first <= (lives[index]?.last ?? 0)).length;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

async function lose(host: Awaited<ReturnType<typeof startHost>>, fault: Fault) {
  switch (fault) {
    case "killed":
      await host.worker.kill();
      return async () => void (await host.start());
    case "frozen":
      host.worker.signal("SIGSTOP");
      return async () => host.worker.signal("SIGCONT");
    case "cut off": {
      const heal = host.proxy.blackhole();
      return async () => {
        heal();
        host.proxy.reset();
      };
    }
  }
}

describe.concurrent("a lost host", () => {
  test.each(["killed", "frozen", "cut off"] as const)(
    "under `hold`, %s: its VM is never launched elsewhere, and runs on",
    async (fault) => {
      await using fleet = await startDrover({ rom: "idle", worker: false, env: TIMING });
      await using host = await startHost(fleet, "lost", "hold");
      const vmId = await fleet.submit();
      await fleet.until(vmId, "running");
      await using _other = await startHost(fleet, "other", "hold");
      using copies = watchCopies(vmId);
      const machine = machineOf(vmId);
      const lostAtMs = performance.now();
      const heal = await lose(host, fault);
      await waitFor(async () => (await fleet.get(vmId)).hostStatus === "unreachable", {
        what: "the host to be missed",
      });
      await waitFor(() => performance.now() - lostAtMs > 2 * AFTER_MS, {
        timeoutMs: 20_000,
        what: "twice the patience",
      });
      expect(await fleet.get(vmId)).toMatchObject({ state: "running", host: "lost", epoch: 1 });
      await heal();
      await waitFor(async () => (await fleet.get(vmId)).hostStatus === "live", {
        timeoutMs: 20_000,
        what: "the return",
      });
      expect(machineOf(vmId)).toEqual(machine);
      await fleet.remove(vmId);
      await fleet.until(vmId, "removed");
      expect(copies.overlaps()).toBe(0);
    },
  );

  const RERUN = (["rerun, keep", "rerun, stop"] as const).flatMap((policy) =>
    (["killed", "frozen", "cut off"] as const).map((fault) => [policy, fault] as const),
  );
  test.each(RERUN)("under `%s`, %s: its VM runs elsewhere", async (policy, fault) => {
    await using fleet = await startDrover({ rom: "idle", worker: false, env: TIMING });
    await using host = await startHost(fleet, "lost", policy);
    const vmId = await fleet.submit();
    await fleet.until(vmId, "running");
    await using _other = await startHost(fleet, "other", policy);
    using copies = watchCopies(vmId);
    const machine = machineOf(vmId);
    const heal = await lose(host, fault);
    const again = await fleet.untilEvent(vmId, "vm.preparing", 2);
    // A host whose lease is not surely valid in that moment gives what it fetched back: that counts an epoch as well.
    const { epoch } = again.data;
    expect(again.data).toMatchObject({ host: "other" });
    expect(epoch).toBeGreaterThanOrEqual(2);
    const mayRunTwice = policy === "rerun, keep" && fault === "cut off";
    expect(isAlive(machine), "the first copy when the second begins").toBe(mayRunTwice);
    expect(await fleet.until(vmId, "running")).toMatchObject({ host: "other", epoch, attempts: { made: 0 } });
    const lost = (await fleet.events(vmId)).find(({ data }) => data["reason"] === "host_lost");
    expect(lost?.data).toMatchObject({ cause: { code: "host_lost" } });
    await heal();
    await waitFor(() => !isAlive(machine), { timeoutMs: 20_000, what: "the first copy to be gone" });
    await waitFor(() => !existsSync(join(host.stateDir, "vms", vmId)), {
      timeoutMs: 20_000,
      what: "the files of the first copy to be gone",
    });
    expect(await fleet.get(vmId)).toMatchObject({ state: "running", host: "other", epoch });
    if (mayRunTwice) await fleet.untilEvent(vmId, "vm.copy_stopped");
    expect(copies.overlaps()).toBe(mayRunTwice ? 1 : 0);
    expect(findByUuid(vmId)).toHaveLength(1);
    await fleet.remove(vmId);
    await fleet.until(vmId, "removed");
  });

  test("whose worker was stopped on purpose is left alone for as long as it may be away", async () => {
    await using fleet = await startDrover({ rom: "idle", worker: false, env: TIMING });
    await using host = await startHost(fleet, "away", "rerun, keep");
    const vmId = await fleet.submit();
    await fleet.until(vmId, "running");
    await using _other = await startHost(fleet, "other", "rerun, keep");
    const machine = machineOf(vmId);
    const leftAtMs = performance.now();
    expect(await host.worker.terminate(), host.worker.output()).toBe(0);
    await waitFor(() => performance.now() - leftAtMs > 2 * AFTER_MS, { timeoutMs: 20_000, what: "twice the patience" });
    expect(await fleet.get(vmId)).toMatchObject({ state: "running", host: "away", epoch: 1 });
    expect(machineOf(vmId)).toEqual(machine);
    await host.start();
    await fleet.untilEvent(vmId, "vm.adopted");
    expect(machineOf(vmId)).toEqual(machine);
    await fleet.remove(vmId);
    await fleet.until(vmId, "removed");
  });

  test("with a VM that was removed meanwhile: it is never launched again, and its host proves the end", async () => {
    await using fleet = await startDrover({ rom: "idle", worker: false, env: TIMING });
    await using host = await startHost(fleet, "lost", "hold");
    const vmId = await fleet.submit();
    await fleet.until(vmId, "running");
    const heal = await lose(host, "killed");
    await waitFor(async () => (await fleet.get(vmId)).hostStatus === "unreachable", { what: "the host to be missed" });
    await fleet.remove(vmId);
    expect(await fleet.get(vmId)).toMatchObject({ state: "stopping", hostStatus: "unreachable" });
    await heal();
    expect(await fleet.until(vmId, "removed")).toMatchObject({ epoch: 1 });
    expect(findByUuid(vmId)).toEqual([]);
  });

  test("that an operator forgets gives its VM back, and what was removed counts as such, unverified", async () => {
    await using fleet = await startDrover({ rom: "idle", worker: false, env: TIMING });
    await using host = await startHost(fleet, "lost", "hold");
    const [vmId, removed] = [await fleet.submit(), await fleet.submit()];
    for (const each of [vmId, removed]) await fleet.until(each, "running");
    const refused = await fleet.call("/v1/hosts/lost", { method: "DELETE" });
    expect(refused.status, "it lives").toBe(409);
    const heal = await lose(host, "killed");
    await waitFor(async () => (await fleet.get(vmId)).hostStatus === "unreachable", { what: "the host to be missed" });
    await fleet.remove(removed);
    expect((await fleet.call("/v1/hosts/lost", { method: "DELETE" })).status).toBeLessThan(300);
    await fleet.until(removed, "removed");
    expect((await fleet.untilEvent(removed, "vm.removed")).data).toMatchObject({ unverified: true });
    expect((await fleet.get(vmId)).state).toBe("queued");
    // Should it come back after all, it stops what does not count any more, and takes up its own VM where nobody has.
    await heal();
    await waitFor(() => findByUuid(removed).length === 0, { timeoutMs: 20_000, what: "the removed VM to be gone" });
    await fleet.until(vmId, "running");
    expect(findByUuid(vmId)).toHaveLength(1);
    await fleet.remove(vmId);
    await fleet.until(vmId, "removed");
  });
});
