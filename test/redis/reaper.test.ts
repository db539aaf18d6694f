import { pino } from "pino";
import { expect, test } from "vitest";
import { POISON_WINDOW_MS } from "../../src/contract/limits.ts";
import { forgetHost } from "../../src/queue/forget-host.ts";
import type { HostDescription } from "../../src/queue/host-description.ts";
import { HostRegistry } from "../../src/queue/host-registry.ts";
import type { ClaimedJob } from "../../src/queue/job-claims.ts";
import { LostVms, type SeenVm } from "../../src/queue/lost-vms.ts";
import { PoolWaiter } from "../../src/queue/pool-waiter.ts";
import { Reaper } from "../../src/queue/reaper.ts";
import { FakeClock } from "../helpers/fake-clock.ts";
import { hostDescription } from "../helpers/host-descriptions.ts";
import { KEEP, openQueueWorld } from "../helpers/queue-world.ts";
import { waitFor } from "../helpers/wait-for.ts";

const LOST_AFTER_MS = 60_000;
const ROUND_MS = 5_000;
const TTL_MS = 3_600_000; // a lease ends here by being withdrawn, not by time
const CAUSE = { code: "host_lost", message: "host host-a has not been heard of" } as const;

/** Host-a with its VMs, and a reaper whose time is turned by hand. */
function openFleet() {
  const world = openQueueWorld();
  const { redis, keys } = world;
  const clock = new FakeClock();
  const hosts = new HostRegistry({ redis, keys });
  const lostVms = new LostVms({ redis, keys, eventsMax: 1_000_000, keep: KEEP });
  const lines: { msg: string; vms?: number }[] = [];
  const logger = pino({ level: "trace" }, { write: (line) => void lines.push(JSON.parse(line)) });
  const newReaper = (over: Partial<ConstructorParameters<typeof Reaper>[0]> = {}) =>
    new Reaper({ hosts, lostVms, clock, logger, ...over });
  const reaper = newReaper();
  const move = async (job: ClaimedJob, to: "starting" | "running" | "stopping") => {
    const at = { host: "host-a", epoch: job.epoch };
    const events = {
      starting: { type: "vm.starting", data: { ...at, port: 6100, pid: 1 } },
      running: { type: "vm.running", data: { ...at, port: 6100, address: "10.0.0.1", bootMs: 1 } },
      stopping: { type: "vm.stopping", data: { ...at, reason: "requested" } },
    } as const;
    const fields = to === "running" ? { address: "10.0.0.1", runningAtMs: "1", command: "qemu" } : {};
    expect(await world.launches.move(world.identity(job), { to, event: events[to], fields, progress: {} })).toBe(
      "done",
    );
  };
  return {
    ...world,
    clock,
    hosts,
    lostVms,
    lines,
    reaper,
    newReaper,
    lives: (over: Partial<HostDescription> = {}) => hosts.take(hostDescription(over), TTL_MS),
    dies: () => redis.del(keys.lease("host-a")),
    async fetched(): Promise<ClaimedJob> {
      const job = await world.fetch("host-a:state:boot-1:1");
      if (job === undefined) throw new Error("nothing to fetch");
      return job;
    },
    async launched(to?: "starting" | "running" | "stopping"): Promise<ClaimedJob> {
      const job = await this.fetched();
      expect(await world.launches.prepare(world.identity(job), {})).toMatchObject({ kind: "prepared" });
      const way = ["starting", "running", "stopping"] as const;
      if (to !== undefined) for (const step of way.slice(0, way.indexOf(to) + 1)) await move(job, step);
      return job;
    },
    /** Rounds in their rhythm for so long. */
    async pass(ms: number, by = reaper): Promise<void> {
      for (let passed = 0; passed < ms; passed += ROUND_MS) {
        clock.advance(ROUND_MS);
        await by.round();
      }
    },
    async state(vmId: string): Promise<string | undefined> {
      return (await world.store.get(vmId))?.state;
    },
    async seen(): Promise<SeenVm> {
      const [vm] = await lostVms.look(await lostVms.held());
      if (vm === undefined) throw new Error("no VM is held");
      return vm;
    },
    active: () => redis.llen(keys.bull("vm.default", "active")),
  };
}

test("a lost host's VM goes back into the queue with its priority, and nothing of the launch is left", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit({ name: "one" }, { priority: "high", sealedSecrets: "sealed" });
  await fleet.launched("running");
  await fleet.reaper.round();
  await fleet.dies();
  await fleet.pass(LOST_AFTER_MS - ROUND_MS);
  expect(await fleet.state(vmId), "not before its time").toBe("running");
  await fleet.pass(2 * ROUND_MS);

  const record = await fleet.store.get(vmId);
  expect(record).toMatchObject({
    state: "queued",
    epoch: 1,
    attemptsMade: 0,
    cause: { code: "host_lost" },
    endReason: "host_lost",
    launches: [{ epoch: 1, host: "host-a", port: 6100, cause: { code: "host_lost" } }],
  });
  for (const field of ["host", "token", "port", "address", "command", "runningAtMs", "crashes"] as const)
    expect(record?.[field], field).toBeUndefined();
  expect(await fleet.active()).toBe(0);
  expect(await fleet.redis.exists(`${fleet.keys.bull("vm.default", vmId)}:lock`)).toBe(0);
  expect(await fleet.ports.list()).toEqual([]);
  expect(await fleet.redis.exists(fleet.keys.box(vmId)), "its secrets are needed again").toBe(1);
  expect(await fleet.eventTypes(vmId)).toEqual(["vm.queued", "vm.preparing", "vm.starting", "vm.running", "vm.queued"]);
  const last = (await fleet.events.read({ after: "0", count: 100 })).at(-1);
  expect(last?.event.data).toMatchObject({ pool: "default", reason: "host_lost", cause: { code: "host_lost" } });
  expect(fleet.lines.filter(({ msg }) => msg.startsWith("a host is lost"))).toMatchObject([{ vms: 1 }]);

  const again = await fleet.fetch();
  expect(again).toMatchObject({ vmId, epoch: 2 });
});

test("it comes back before what waits in its class, behind what is more urgent, and wakes whoever waits for work", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const lost = await fleet.submit();
  await fleet.launched("running");
  const later = await fleet.submit();
  const urgent = await fleet.submit({}, { priority: "high" });
  const marker = fleet.keys.bull("vm.default", "marker");
  await fleet.redis.del(marker);
  const connection = fleet.redis.duplicate();
  const waiter = new PoolWaiter({ redis: connection, keys: fleet.keys, hostId: "host-a" });
  const woken = waiter.wait(["default"], 10_000);
  await fleet.reaper.round();
  await fleet.dies();
  await fleet.pass(LOST_AFTER_MS + ROUND_MS);
  expect(await woken).toBe("work");
  const order = [];
  for (let i = 0; i < 3; i++) order.push((await fleet.fetch())?.vmId);
  expect(order).toEqual([urgent, lost, later]);
  waiter.stop();
});

test("a reaper that was cut off itself counts anew, and so does one that comes late", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  await fleet.launched("running");
  await fleet.reaper.round();
  await fleet.dies();
  await fleet.pass(LOST_AFTER_MS - ROUND_MS);
  fleet.clock.advance(LOST_AFTER_MS); // it slept, or Redis was silent: what happened meanwhile nobody knows
  await fleet.reaper.round();
  expect(await fleet.state(vmId), "after a gap").toBe("running");
  await fleet.pass(LOST_AFTER_MS - ROUND_MS);
  expect(await fleet.state(vmId)).toBe("running");

  const late = fleet.newReaper();
  await late.round();
  expect(await fleet.state(vmId), "one that never saw the host").toBe("running");
  await fleet.pass(ROUND_MS);
  expect(await fleet.state(vmId)).toBe("queued");
});

test("a round that failed is a reaper that could not reach Redis: silence counts anew", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  await fleet.launched("running");
  const held = fleet.lostVms.held.bind(fleet.lostVms);
  let reaches = true;
  const lostVms = Object.assign(Object.create(fleet.lostVms), {
    held: () => (reaches ? held() : Promise.reject(new Error("away"))),
    look: fleet.lostVms.look.bind(fleet.lostVms),
    reap: fleet.lostVms.reap.bind(fleet.lostVms),
  });
  const reaper = fleet.newReaper({ lostVms });
  await reaper.round();
  await fleet.dies();
  await fleet.pass(LOST_AFTER_MS - ROUND_MS, reaper);
  reaches = false;
  fleet.clock.advance(ROUND_MS);
  await expect(reaper.round()).rejects.toThrow("away");
  reaches = true;
  await fleet.pass(LOST_AFTER_MS, reaper);
  expect(await fleet.state(vmId)).toBe("running");
  await fleet.pass(ROUND_MS, reaper);
  expect(await fleet.state(vmId)).toBe("queued");
});

test("a look that hung is a gap as well", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  await fleet.launched("running");
  await fleet.reaper.round();
  await fleet.dies();
  await fleet.pass(LOST_AFTER_MS - 2 * ROUND_MS);
  const slow = Object.assign(Object.create(fleet.hosts), {
    hosts: () => {
      fleet.clock.advance(2 * LOST_AFTER_MS);
      return fleet.hosts.hosts();
    },
  });
  const reaper = fleet.newReaper({ hosts: slow });
  for (let i = 0; i < 4; i++) await reaper.round();
  expect(await fleet.state(vmId)).toBe("running");
});

test("silence counts from the last renewal, not from when the lease that it left has lapsed", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  await fleet.launched("running");
  await fleet.reaper.round();
  const leaseMs = hostDescription().leaseMs ?? 0;
  for (let sinceMs = ROUND_MS; sinceMs < leaseMs; sinceMs += ROUND_MS) {
    await fleet.redis.pexpire(fleet.keys.lease("host-a"), leaseMs - sinceMs);
    await fleet.pass(ROUND_MS);
  }
  await fleet.dies();
  await fleet.pass(LOST_AFTER_MS - leaseMs);
  expect(await fleet.state(vmId), "not before its time").toBe("running");
  await fleet.pass(2 * ROUND_MS);
  expect(await fleet.state(vmId)).toBe("queued");
});

test("a lease that was old already when the reaper came to reach Redis counts from there", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  await fleet.launched("running");
  await fleet.redis.pexpire(fleet.keys.lease("host-a"), 1_000);
  await fleet.reaper.round();
  await fleet.dies();
  await fleet.pass(LOST_AFTER_MS - ROUND_MS);
  expect(await fleet.state(vmId)).toBe("running");
  await fleet.pass(2 * ROUND_MS);
  expect(await fleet.state(vmId)).toBe("queued");
});

test("a lease that is there in any round begins the silence anew", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  await fleet.launched("running");
  await fleet.reaper.round();
  for (let i = 0; i < 3; i++) {
    await fleet.dies();
    await fleet.pass(LOST_AFTER_MS - ROUND_MS);
    await fleet.lives();
    await fleet.pass(ROUND_MS);
  }
  expect(await fleet.state(vmId)).toBe("running");
});

test("a lease that comes back between look and script keeps the VM; so does one that moved job or record", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  const job = await fleet.launched("running");
  const seen = await fleet.seen();
  const reap = () => fleet.lostVms.reap(seen, { cause: CAUSE, endProved: true });
  const events = await fleet.eventTypes(vmId);
  const jobKey = fleet.keys.bull("vm.default", vmId);
  expect(await reap(), "the lease is there").toBe("alive");
  await fleet.dies();
  await fleet.redis.hset(fleet.keys.host("host-a"), "awayUntilMs", Date.now() + 60_000);
  expect(await reap()).toBe("away");
  await fleet.redis.hdel(fleet.keys.host("host-a"), "awayUntilMs");

  await fleet.redis.hset(jobKey, "pb", "host-b");
  expect(await reap(), "fetched by another host").toBe("changed");
  await fleet.redis.hset(jobKey, "pb", "host-a", "ats", 2);
  expect(await reap(), "fetched again").toBe("changed");
  await fleet.redis.hset(jobKey, "ats", 1);
  await fleet.redis.set(`${jobKey}:lock`, "host-a:state:boot-1:2");
  expect(await reap(), "adopted").toBe("changed");
  await fleet.redis.set(`${jobKey}:lock`, job.token);
  await fleet.redis.hset(fleet.keys.record(vmId), "token", "host-a:other:boot-1:1");
  expect(await reap(), "the record is another worker's").toBe("changed");
  await fleet.redis.hset(fleet.keys.record(vmId), "token", job.token);
  await fleet.redis.lrem(fleet.keys.bull("vm.default", "active"), 1, vmId);
  expect(await reap(), "settled").toBe("changed");
  await fleet.redis.lpush(fleet.keys.bull("vm.default", "active"), vmId);
  expect(await fleet.eventTypes(vmId)).toEqual(events);

  expect(await reap()).toBe("queued");
  expect(await reap(), "a resent command").toBe("changed");
});

test.each([
  ["holds its VMs", { policy: { lost: "hold", lostAfterMs: 1_000, onPartition: "keep" } }],
  ["has published no policy", { policy: undefined }],
] as const)("the VMs of a lost host that %s are not touched", async (_what, over) => {
  await using fleet = openFleet();
  await fleet.lives(over);
  const vmId = await fleet.submit();
  await fleet.launched("running");
  await fleet.reaper.round();
  await fleet.dies();
  await fleet.pass(5 * LOST_AFTER_MS);
  expect(await fleet.state(vmId)).toBe("running");
});

test("a host that is away on purpose is not lost before its time; then its silence counts from when it left", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  await fleet.launched("running");
  await fleet.reaper.round();
  await fleet.hosts.goAway(hostDescription(), 3_600_000);
  await fleet.pass(3 * LOST_AFTER_MS);
  expect(await fleet.state(vmId)).toBe("running");
  await fleet.redis.hset(fleet.keys.host("host-a"), "awayUntilMs", Date.now() - 1);
  await fleet.pass(ROUND_MS);
  expect(await fleet.state(vmId)).toBe("queued");
});

test("a lease of another state directory does not speak for the VMs of the one before", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const orphaned = await fleet.submit();
  await fleet.launched("running");
  await fleet.reaper.round();
  await fleet.dies();
  await fleet.lives({ stateId: "wiped" });
  const own = await fleet.submit();
  const job = await fleet.fetch("host-a:wiped:boot-1:9");
  if (job === undefined) throw new Error("nothing to fetch");
  await fleet.launches.prepare(fleet.identity(job), {});
  await fleet.pass(LOST_AFTER_MS + ROUND_MS);
  expect([await fleet.state(orphaned), await fleet.state(own)]).toEqual(["queued", "preparing"]);
});

test("a VM that was fetched and never prepared goes back without a word", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  await fleet.fetched();
  await fleet.reaper.round();
  await fleet.dies();
  await fleet.pass(LOST_AFTER_MS + ROUND_MS);
  expect(await fleet.active()).toBe(0);
  expect(await fleet.eventTypes(vmId)).toEqual(["vm.queued"]);
  expect(await fleet.store.get(vmId)).toMatchObject({ state: "queued", epoch: 0 });
  expect(await fleet.fetch()).toMatchObject({ vmId, epoch: 2 });
});

test("a job without a lock is its fetcher's still", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  await fleet.launched("running");
  await fleet.redis.del(`${fleet.keys.bull("vm.default", vmId)}:lock`);
  await fleet.pass(2 * ROUND_MS);
  expect(await fleet.seen()).toMatchObject({ hostId: "host-a", stateId: "state", lock: "" });
  await fleet.dies();
  await fleet.pass(LOST_AFTER_MS + ROUND_MS);
  expect(await fleet.state(vmId)).toBe("queued");
});

test("a VM whose record is final is only settled, and a failed one can be retried then", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  const job = await fleet.launched("running");
  const cause = { code: "guest_panic", message: "it panicked" } as const;
  await fleet.launches.move(fleet.identity(job), {
    to: "failed",
    event: { type: "vm.failed", data: { cause, attempt: 1, host: "host-a", epoch: 1, exitCode: null } },
    fields: { cause: JSON.stringify(cause) },
    progress: {},
    leave: { box: "keep", tail: undefined, final: true, keepMs: 60_000 },
  });
  const events = await fleet.eventTypes(vmId);
  await fleet.reaper.round();
  await fleet.dies();
  await fleet.pass(LOST_AFTER_MS + ROUND_MS);
  expect(await fleet.active()).toBe(0);
  expect(await fleet.eventTypes(vmId)).toEqual(events);
  expect(await fleet.redis.hget(fleet.keys.bull("vm.default", vmId), "failedReason")).toBe("guest_panic: it panicked");
  expect(await fleet.store.retryByHand({ vmId, by: "local" })).toEqual({ kind: "queued" });
});

test.each(["preparing", "starting"] as const)(
  "the third worker that dies with a VM that is %s was one too many",
  async (state) => {
    await using fleet = openFleet();
    const vmId = await fleet.submit({}, { sealedSecrets: "sealed" });
    const outcomes: string[] = [];
    for (let crash = 1; crash <= 3; crash++) {
      await fleet.launched(state === "starting" ? "starting" : undefined);
      outcomes.push(await fleet.lostVms.reap(await fleet.seen(), { cause: CAUSE, endProved: false }));
      expect((await fleet.store.get(vmId))?.crashes).toHaveLength(crash);
    }
    expect(outcomes).toEqual(["queued", "queued", "failed"]);
    const record = await fleet.store.get(vmId);
    expect(record).toMatchObject({ state: "failed", cause: { code: "poisoned" }, endReason: "poisoned" });
    expect(record?.launches).toHaveLength(3);
    expect(record?.endedAtMs).toBeGreaterThan(0);
    expect([await fleet.active(), await fleet.ports.list()]).toEqual([0, []]);
    expect(await fleet.redis.zcard(fleet.keys.bull("vm.default", "failed"))).toBe(1);
    expect(await fleet.redis.pttl(fleet.keys.box(vmId)), "kept for a retry, and not for ever").toBeGreaterThan(0);
    const last = (await fleet.events.read({ after: "0", count: 100 })).at(-1);
    expect(last?.event).toMatchObject({
      type: "vm.failed",
      data: { cause: { code: "poisoned" }, epoch: 3, attempt: 0 },
    });
    expect(await fleet.store.retryByHand({ vmId, by: "local" })).toEqual({ kind: "queued" });
  },
);

test("crashes of long ago do not count, nor do those of a VM that ran", async () => {
  await using fleet = openFleet();
  const vmId = await fleet.submit();
  const longAgo = Date.now() - POISON_WINDOW_MS - 1;
  await fleet.redis.hset(fleet.keys.record(vmId), "crashes", JSON.stringify([longAgo, longAgo, longAgo]));
  await fleet.launched("running");
  expect(await fleet.lostVms.reap(await fleet.seen(), { cause: CAUSE, endProved: false })).toBe("queued");
  await fleet.launched();
  expect(await fleet.lostVms.reap(await fleet.seen(), { cause: CAUSE, endProved: false })).toBe("queued");
  expect((await fleet.store.get(vmId))?.crashes).toHaveLength(1);
});

test("a VM whose removal was asked for stays with its lost host, whose proof alone ends it", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  await fleet.launched("stopping");
  await fleet.store.requestRemoval({ vmId, reason: "requested", by: "local" });
  await fleet.reaper.round();
  await fleet.dies();
  await fleet.pass(3 * LOST_AFTER_MS);
  expect([await fleet.state(vmId), await fleet.active()]).toEqual(["stopping", 1]);
  expect(fleet.lines.filter(({ msg }) => msg.startsWith("a host is lost"))).toEqual([]);
});

test("where the host ends its VMs by itself before it is lost, that is the proof", async () => {
  await using fleet = openFleet();
  await fleet.lives({ policy: { lost: "rerun", lostAfterMs: LOST_AFTER_MS, onPartition: "stop" } });
  const vmId = await fleet.submit({}, { sealedSecrets: "sealed" });
  await fleet.launched("running");
  await fleet.store.requestRemoval({ vmId, reason: "requested", by: "local" });
  await fleet.reaper.round();
  await fleet.dies();
  await fleet.pass(LOST_AFTER_MS + ROUND_MS);
  const record = await fleet.store.get(vmId);
  expect(record).toMatchObject({ state: "removed", endReason: "requested" });
  expect(record?.unverified).toBeUndefined();
  expect((await fleet.events.read({ after: "0", count: 100 })).at(-1)?.event.data).toEqual({ reason: "requested" });
  expect(await fleet.redis.exists(fleet.keys.box(vmId))).toBe(0);
  expect(await fleet.redis.zcard(fleet.keys.bull("vm.default", "completed"))).toBe(1);
  expect([await fleet.active(), await fleet.ports.list()]).toEqual([0, []]);
});

test("a marked VM that was fetched and never prepared is removed: nothing was launched", async () => {
  await using fleet = openFleet();
  const vmId = await fleet.submit();
  await fleet.fetched();
  await fleet.store.requestRemoval({ vmId, reason: "requested", by: "local" });
  expect(await fleet.lostVms.reap(await fleet.seen(), { cause: CAUSE, endProved: false })).toBe("removed");
  const record = await fleet.store.get(vmId);
  expect([record?.state, record?.unverified]).toEqual(["removed", undefined]);
});

test("a reaper finds lost hosts by itself, looks more often where a host wants it so, and stops at once", async () => {
  await using fleet = openFleet();
  await fleet.lives({ policy: { lost: "rerun", lostAfterMs: 5_000, onPartition: "keep" } });
  const vmId = await fleet.submit();
  await fleet.launched("running");
  let looks = 0;
  const hosts = Object.assign(Object.create(fleet.hosts), {
    hosts: () => {
      looks += 1;
      return fleet.hosts.hosts();
    },
  });
  const reaper = fleet.newReaper({ hosts });
  await reaper.round();
  await fleet.dies();
  reaper.start();
  // A fifth of the time that the host may be silent, with jitter: each step is one look.
  for (let look = 0; look < 7; look++) {
    await waitFor(() => fleet.clock.sleepers === 1, { what: "the reaper to have looked" });
    fleet.clock.advance(1_250);
  }
  await waitFor(async () => (await fleet.state(vmId)) === "queued", { timeoutMs: 2_000, what: "the VM to be back" });
  await reaper.stop();
  expect(looks).toBe(8);
  expect(fleet.clock.sleepers).toBe(0);
});

test("many reapers at once take a VM back once", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmIds = [];
  for (let i = 0; i < 10; i++) {
    vmIds.push(await fleet.submit());
    await fleet.launched("running");
  }
  const reapers = [fleet.reaper, fleet.newReaper(), fleet.newReaper(), fleet.newReaper()];
  await Promise.all(reapers.map((reaper) => reaper.round()));
  await fleet.dies();
  for (let passed = 0; passed <= LOST_AFTER_MS + ROUND_MS; passed += ROUND_MS) {
    fleet.clock.advance(ROUND_MS);
    await Promise.all(reapers.map((reaper) => reaper.round()));
  }
  for (const vmId of vmIds) {
    const types = await fleet.eventTypes(vmId);
    expect(types.filter((type) => type === "vm.queued")).toHaveLength(2);
  }
  expect(await fleet.redis.zcard(fleet.keys.bull("vm.default", "prioritized"))).toBe(10);
});

test("a host that lives is not forgotten; one that is gone is, whatever its policy, with all its VMs", async () => {
  await using fleet = openFleet();
  await fleet.lives({ policy: { lost: "hold", lostAfterMs: 1, onPartition: "keep" } });
  const removed = await fleet.submit({}, { sealedSecrets: "sealed" });
  await fleet.launched("running");
  await fleet.store.requestRemoval({ vmId: removed, reason: "requested", by: "local" });
  const running = await fleet.submit();
  await fleet.launched("running");
  expect(await forgetHost(fleet, "host-a")).toMatchObject({ kind: "alive", requeued: [], removed: [] });
  await fleet.hosts.goAway(hostDescription(), 3_600_000);

  expect(await forgetHost(fleet, "host-a")).toEqual({
    kind: "forgotten",
    requeued: [running],
    removed: [removed],
    failed: [],
  });
  expect(await fleet.store.get(removed)).toMatchObject({ state: "removed", endReason: "requested", unverified: true });
  expect(await fleet.redis.exists(fleet.keys.box(removed))).toBe(0);
  expect(await fleet.store.get(running)).toMatchObject({ state: "queued", endReason: "host_forgotten" });
  const told = (await fleet.events.read({ after: "0", count: 100 })).slice(-2).map(({ event }) => event);
  expect(told.map(({ type, data }) => [type, data])).toEqual(
    expect.arrayContaining([
      ["vm.removed", { reason: "requested", unverified: true }],
      ["vm.queued", expect.objectContaining({ reason: "host_forgotten" })],
    ]),
  );
  expect([await fleet.active(), await fleet.hosts.hosts(), await fleet.ports.list()]).toEqual([0, [], []]);
  expect(await forgetHost(fleet, "host-a")).toEqual({ kind: "not_found" });
});

test("a time limit that passed on a forgotten host ends the VM as expired", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  const vmId = await fleet.submit();
  await fleet.launched("running");
  await fleet.redis.zadd(fleet.keys.deadlines, 1, `t:${vmId}`);
  await fleet.store.requestRemoval({ vmId, reason: "ttl", by: "drover" });
  await fleet.dies();
  expect(await forgetHost(fleet, "host-a")).toMatchObject({ kind: "forgotten", removed: [vmId] });
  expect((await fleet.events.read({ after: "0", count: 100 })).at(-1)?.event).toMatchObject({
    type: "vm.expired",
    data: { reason: "ttl", unverified: true },
  });
  expect(await fleet.redis.zcard(fleet.keys.deadlines)).toBe(0);
});

test("a host that comes back in the middle ends the forgetting; what is left is its own", async () => {
  await using fleet = openFleet();
  await fleet.lives();
  await fleet.submit();
  await fleet.launched("running");
  await fleet.submit();
  await fleet.launched("running");
  await fleet.dies();
  const lostVms = Object.assign(Object.create(fleet.lostVms), {
    held: fleet.lostVms.held.bind(fleet.lostVms),
    look: fleet.lostVms.look.bind(fleet.lostVms),
    forget: async (...args: Parameters<LostVms["forget"]>) => {
      const outcome = await fleet.lostVms.forget(...args);
      await fleet.lives();
      return outcome;
    },
  });
  const outcome = await forgetHost({ hosts: fleet.hosts, lostVms }, "host-a");
  expect(outcome).toMatchObject({ kind: "alive", requeued: [expect.any(String)] });
  expect(await fleet.active()).toBe(1);
  expect(await fleet.hosts.hosts()).toHaveLength(1);
});
