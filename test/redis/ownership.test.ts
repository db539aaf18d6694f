import { expect, test } from "vitest";
import type { ClaimedJob } from "../../src/queue/job-claims.ts";
import { type LiveLaunch, Ownership } from "../../src/queue/ownership.ts";
import { openQueueWorld } from "../helpers/queue-world.ts";
import { dumpRedis } from "../helpers/redis-dump.ts";

const TOKEN_PREFIX = "host-a:state:";
const FIRST = `${TOKEN_PREFIX}boot-1:first`;
const SECOND = `${TOKEN_PREFIX}boot-1:second`;
const HOUR_MS = 3_600_000;
const AT = { host: "host-a", epoch: 1 } as const;
const COMPLETED = {
  to: "completed",
  event: { type: "vm.completed", data: { ...AT, reason: "guest_shutdown", exitCode: 0 } },
  progress: {},
  leave: { box: "delete", tail: undefined, final: true, keepMs: HOUR_MS },
} as const;

type World = ReturnType<typeof openOwner>;

/** One host and what its next worker asks Redis about the VMs that it finds. */
function openOwner() {
  const world = openQueueWorld();
  const { redis, keys } = world;
  const bull = (part: string) => keys.bull("vm.default", part);
  const ownership = new Ownership({ redis, keys, bootId: "boot-1", tokenPrefix: TOKEN_PREFIX, eventsMax: 1_000 });
  return {
    ...world,
    bull,
    ownership,
    active: () => redis.lrange(bull("active"), 0, -1),
    async fetched(): Promise<ClaimedJob> {
      await world.submit({ ttl: "1h" });
      const job = await world.fetch(FIRST);
      if (job === undefined) throw new Error("nothing to fetch");
      return job;
    },
    /** A VM that runs, and what its host knows of it. */
    async running(): Promise<{ job: ClaimedJob; live: LiveLaunch }> {
      const job = await this.fetched();
      const identity = world.identity(job);
      expect(await world.launches.prepare(identity, {})).toMatchObject({ kind: "prepared", port: 6100 });
      const snapshot = await ownership.snapshot(job.vmId);
      const starting = { type: "vm.starting", data: { ...AT, port: 6100, pid: 4 } } as const;
      const running = { type: "vm.running", data: { ...AT, port: 6100, address: "127.0.0.1", bootMs: 1 } } as const;
      await world.launches.move(identity, { to: "starting", event: starting, progress: {} });
      const fields = { address: "127.0.0.1" };
      await world.launches.move(identity, { to: "running", event: running, fields, progress: {}, ttlMs: HOUR_MS });
      const deadlineAtMs = (await world.store.get(job.vmId))?.deadlineAtMs;
      if (!job.data.ok) throw new Error("a job that cannot be read");
      const live = {
        identity,
        state: "running",
        port: 6100,
        snapshot,
        fields: { ...fields, port: "6100", deadlineAtMs: String(deadlineAtMs) },
        job: job.data.value,
        deadlineAtMs,
      } as const;
      return { job, live };
    },
    /** Everything that Redis holds, with places that may differ left out. */
    everything: (vmId: string) => dumpRedis(redis, keys, [vmId]),
  };
}

const lockOf = (world: World, vmId: string) => world.redis.get(`${world.bull(vmId)}:lock`);

test("after a claim nothing of the worker before has any effect, and the new one ends the launch", async () => {
  await using world = openOwner();
  const { job, live } = await world.running();
  const { vmId } = job;
  const next = { ...live.identity, token: SECOND };
  expect(await world.ownership.claim(next)).toEqual({ kind: "claimed", state: "running", prepared: true });
  expect(await world.ownership.claim(next), "a resent command").toMatchObject({ kind: "claimed" });
  expect([await lockOf(world, vmId), (await world.store.get(vmId))?.token]).toEqual([SECOND, SECOND]);

  expect(await world.launches.move(live.identity, COMPLETED)).toBe("not_owner");
  await world.claims.complete(job, { outcome: "completed" });
  expect(await world.active(), "the job is not the first one's to settle").toEqual([vmId]);
  await world.launches.givePort(live.identity, 6100);
  expect(await world.ports.list()).toMatchObject([{ port: 6100, vmId, token: SECOND }]);

  expect(await world.launches.move(next, COMPLETED)).toBe("done");
  expect(await world.ports.list(), "the port was claimed as well").toEqual([]);
  await world.claims.complete({ ...job, token: SECOND }, { outcome: "completed" });
  expect(await world.active()).toEqual([]);
});

test("a claim says that removal was asked for, and of a VM that was fetched only that it was", async () => {
  await using world = openOwner();
  const { live } = await world.running();
  await world.store.requestRemoval({ vmId: live.identity.vmId, reason: "requested", by: "local", force: true });
  expect(await world.ownership.claim({ ...live.identity, token: SECOND })).toMatchObject({
    kind: "claimed",
    mark: { reason: "requested", force: true },
  });
  const job = await world.fetched();
  const claim = await world.ownership.claim({ ...world.identity(job), token: SECOND });
  expect(claim).toEqual({ kind: "claimed", state: "queued", prepared: false });
  expect(await world.store.get(job.vmId)).toMatchObject({ state: "queued", epoch: 0 });
  expect(await lockOf(world, job.vmId)).toBe(SECOND);
});

test.each<[string, (world: World, vmId: string) => Promise<unknown>]>([
  ["whose job another host has", ({ redis, bull }, vmId) => redis.hset(bull(vmId), "pb", "host-b")],
  [
    "whose job is locked by another state directory",
    ({ redis, bull }, vmId) => redis.set(`${bull(vmId)}:lock`, "host-a:other:boot-1:x"),
  ],
  ["whose job is in the queue", ({ redis, bull }, vmId) => redis.lrem(bull("active"), 0, vmId)],
  ["that another host runs", ({ redis, keys }, vmId) => redis.hset(keys.record(vmId), "host", "host-b")],
  ["that was launched again", ({ redis, keys }, vmId) => redis.hset(keys.record(vmId), "epoch", 2)],
  ["without a record", ({ redis, keys }, vmId) => redis.del(keys.record(vmId))],
])("a VM %s is nobody's to claim, and nothing is changed", async (_what, change) => {
  await using world = openOwner();
  const { live } = await world.running();
  const { vmId } = live.identity;
  await change(world, vmId);
  const before = await world.everything(vmId);
  expect(await world.ownership.claim({ ...live.identity, token: SECOND })).toMatchObject({ kind: "refused" });
  expect((await world.ownership.check(live)).agrees).toBe(false);
  expect(await world.everything(vmId)).toEqual(before);
});

const put =
  (list: string, score = "1") =>
  async (world: World, vmId: string) => {
    await world.redis.lrem(world.bull("active"), 0, vmId);
    if (list === "wait") await world.redis.lpush(world.bull(list), vmId);
    else await world.redis.zadd(world.bull(list), score, vmId);
  };
/** What Redis may have lost, and what REASSERT calls it. */
const LOSSES: readonly [string, string, (world: World, vmId: string) => Promise<unknown>][] = [
  [
    "everything",
    "record, job, port",
    async ({ redis, keys }) => redis.del(await redis.keys(`${keys.prefix.replace(/[{}]/g, "\\$&")}:*`)),
  ],
  ["the record", "record", ({ redis, keys }, vmId) => redis.del(keys.record(vmId))],
  ["the record's last moves", "state", ({ redis, keys }, vmId) => redis.hset(keys.record(vmId), "state", "preparing")],
  ["a claim", "state, job, port", ({ ownership }, vmId) => ownership.claim(identityOf(vmId, "older"))],
  ["the job", "job", ({ redis, bull }, vmId) => redis.del(bull(vmId), `${bull(vmId)}:lock`, bull("active"))],
  ["the lock", "job", ({ redis, bull }, vmId) => redis.del(`${bull(vmId)}:lock`)],
  ["the port", "port", ({ redis, keys }) => redis.del(keys.ports("boot-1"))],
  ["its place among the active", "job", ({ redis, bull }) => redis.del(bull("active"))],
  ["the fetch: the job waits in its class", "job", put("prioritized")],
  ["the fetch: the job waits for its time", "job", put("delayed")],
  ["the fetch: the job waits", "job", put("wait")],
  ["a retry by hand: the job has failed", "job", put("failed")],
  ["the launch: nobody has the VM", "state, job, port", forgetLaunch],
];

function identityOf(vmId: string, token: string) {
  const normal = { vmId, pool: "default", priority: "normal" } as const;
  return { ...normal, ...AT, token: `${TOKEN_PREFIX}boot-1:${token}` };
}

/** An older append-only file: record, job and ports as they were before the fetch. */
async function forgetLaunch(world: World, vmId: string): Promise<void> {
  const { redis, keys, bull } = world;
  await redis.hset(keys.record(vmId), "state", "queued", "epoch", 0);
  await redis.hdel(keys.record(vmId), "host", "token", "port", "address");
  await redis.zrem(keys.stateVms("running"), vmId);
  await redis.zadd(keys.stateVms("queued"), 1, vmId);
  await redis.hdel(bull(vmId), "pb", "ats", "processedOn");
  await redis.del(bull("active"), `${bull(vmId)}:lock`, keys.ports("boot-1"));
  await redis.zadd(bull("prioritized"), 1, vmId);
}

test.each(LOSSES)(
  "a live VM of which Redis has lost %s is its host's again, and nobody fetches it",
  async (_what, lost, lose) => {
    await using world = openOwner();
    const { job, live } = await world.running();
    const { vmId, token } = live.identity;
    const before = await world.store.get(vmId);
    expect(await world.ownership.check(live)).toEqual({ agrees: true, mark: undefined });
    await lose(world, vmId);
    expect((await world.ownership.check(live)).agrees).toBe(false);

    expect(await world.ownership.reassert(live)).toEqual({ kind: "reasserted", lost });
    expect((await world.ownership.check(live)).agrees).toBe(true);
    expect(await world.store.get(vmId)).toMatchObject({
      ...AT,
      state: "running",
      token,
      port: 6100,
      address: "127.0.0.1",
      spec: before?.spec,
      createdAtMs: before?.createdAtMs,
      deadlineAtMs: before?.deadlineAtMs,
    });
    expect(await world.active()).toEqual([vmId]);
    for (const list of ["prioritized", "delayed", "failed", "completed"])
      expect(await world.redis.zscore(world.bull(list), vmId), list).toBeNull();
    expect(await world.redis.lpos(world.bull("wait"), vmId)).toBeNull();
    expect(await world.fetch(), "no second copy").toBeUndefined();
    expect(await world.redis.zscore(world.keys.deadlines, `t:${vmId}`)).toBe(String(live.deadlineAtMs));
    expect(await world.redis.zrange(world.keys.stateVms("running"), "0", "-1")).toEqual([vmId]);
    expect((await world.eventTypes(vmId)).filter((type) => type === "vm.reasserted")).toHaveLength(1);

    const told = await world.everything(vmId);
    expect(await world.ownership.reassert(live)).toEqual({ kind: "ours" });
    expect(await world.everything(vmId), "said once").toEqual(told);
    expect(await world.launches.move(live.identity, COMPLETED)).toBe("done");
    await world.claims.complete(job, { outcome: "completed" });
    expect([await world.active(), await world.ports.list()]).toEqual([[], []]);
  },
);

test("the number of an event after a loss is far above all that were told before", async () => {
  await using world = openOwner();
  const { live } = await world.running();
  const { vmId } = live.identity;
  const before = Number((await world.store.get(vmId))?.seq);
  await world.redis.del(world.keys.record(vmId));
  await world.ownership.reassert(live);
  expect(Number((await world.store.get(vmId))?.seq)).toBeGreaterThan(before + 500);
});

test("QEMU has its port bound: whoever Redis gave it to meanwhile holds it no more", async () => {
  await using world = openOwner();
  const { live } = await world.running();
  await world.redis.del(world.keys.ports("boot-1"));
  const other = await world.ports.take({ vmId: "other", epoch: 1, token: "t" });
  await world.redis.hset(world.keys.ports("boot-1"), "p:6100", "other|1|t", "v:other", 6100);
  if (other !== 6100) await world.redis.hdel(world.keys.ports("boot-1"), `p:${other}`);
  expect(await world.ownership.reassert(live)).toEqual({ kind: "reasserted", lost: "port" });
  expect(await world.ports.list()).toEqual([{ port: 6100, ...portHolder(live) }]);
});

function portHolder({ identity: { vmId, epoch, token } }: LiveLaunch) {
  return { vmId, epoch, token };
}

test.each<[string, "final" | "superseded", (world: World, vmId: string) => Promise<unknown>]>([
  ["has ended", "final", ({ redis, keys }, vmId) => redis.hset(keys.record(vmId), "state", "completed")],
  ["has failed", "final", ({ redis, keys }, vmId) => redis.hset(keys.record(vmId), "state", "failed")],
  [
    "was purged",
    "final",
    async ({ redis, keys }, vmId) => {
      await redis.del(keys.record(vmId));
      await redis.set(keys.mark(vmId), JSON.stringify({ reason: "purged", by: "drover", atMs: 1 }));
    },
  ],
  [
    "runs elsewhere in a higher epoch",
    "superseded",
    ({ redis, keys }, vmId) => redis.hset(keys.record(vmId), "epoch", 2, "host", "host-b", "token", "host-b:s:b:1"),
  ],
  [
    "waits after a higher epoch",
    "superseded",
    ({ redis, keys }, vmId) => redis.hset(keys.record(vmId), "epoch", 2, "state", "queued"),
  ],
  [
    "was fetched elsewhere in a higher epoch",
    "superseded",
    async ({ redis, bull }, vmId) => {
      await redis.hset(bull(vmId), "pb", "host-b", "ats", 2);
      await redis.set(`${bull(vmId)}:lock`, "host-b:s:b:1");
    },
  ],
  [
    "is another state directory's in the same epoch",
    "superseded",
    ({ redis, keys }, vmId) => redis.hset(keys.record(vmId), "token", "host-a:other:boot-1:1"),
  ],
])("a VM that %s is not told again: the launch is %s, and nothing is changed", async (_what, kind, change) => {
  await using world = openOwner();
  const { live } = await world.running();
  const { vmId } = live.identity;
  await change(world, vmId);
  const before = await world.everything(vmId);
  expect(await world.ownership.reassert(live)).toMatchObject({ kind });
  expect(await world.everything(vmId)).toEqual(before);
});

const RETRYING = {
  to: "retrying",
  event: {
    type: "vm.retrying",
    data: { ...AT, cause: { code: "guest_panic", message: "x" }, attempt: 1, attempts: 3, delayMs: 1 },
  },
  fields: { attemptsMade: "1" },
  progress: {},
  leave: { box: "keep", tail: undefined, final: false, keepMs: HOUR_MS },
} as const;
const RELEASED = {
  ...RETRYING,
  to: "queued",
  event: { type: "vm.queued", data: { pool: "default", reason: "released", delayMs: 1 } },
} as const;

test.each([RETRYING, RELEASED])(
  "a launch that has told its end ($to) is not told as a live one again, though its job is not back in the queue yet",
  async (move) => {
    await using world = openOwner();
    const { job, live } = await world.running();
    const { vmId } = job;
    expect(await world.launches.move(live.identity, move)).toBe("done");
    const before = await world.everything(vmId);
    expect(await world.ownership.reassert(live), "sent before the end, carried out after it").toMatchObject({
      kind: "superseded",
    });
    expect(await world.everything(vmId)).toEqual(before);

    await world.claims.giveBack(job, 0);
    expect(await world.ownership.reassert(live)).toMatchObject({ kind: "superseded" });
    const again = await world.fetch(SECOND);
    expect(again).toMatchObject({ vmId, epoch: 2 });
    if (again === undefined) throw new Error("nothing to fetch");
    expect(await world.launches.prepare(world.identity(again), {})).toMatchObject({ kind: "prepared" });
  },
);

test("a VM that was taken back for its host's silence and waits is its host's again when that one returns in time", async () => {
  await using world = openOwner();
  const { job, live } = await world.running();
  const { redis, keys, bull } = world;
  await put("prioritized")(world, job.vmId);
  await redis.del(`${bull(job.vmId)}:lock`, keys.ports("boot-1"));
  await redis.hdel(bull(job.vmId), "pb");
  await redis.hset(keys.record(job.vmId), "state", "queued");
  await redis.hdel(keys.record(job.vmId), "host", "token", "port", "address"); // as REAP leaves it: the epoch stays
  expect(await world.ownership.claim({ ...live.identity, token: SECOND })).toEqual({
    kind: "refused",
    state: "queued",
  });
  const told = { ...live, identity: { ...live.identity, token: SECOND } };
  expect(await world.ownership.reassert(told)).toMatchObject({ kind: "reasserted" });
  expect(await world.ownership.check(told)).toEqual({ agrees: true, mark: undefined });
  expect(await world.fetch(), "no second copy").toBeUndefined();
});

/** How a job that was told again goes on under BullMQ, and where it is then. */
const GOES_ON: readonly [string, (world: World, job: ClaimedJob) => Promise<unknown>, string][] = [
  ["completed", ({ claims }, job) => claims.complete(job, { outcome: "completed" }), "completed"],
  ["failed for good", ({ claims }, job) => claims.failForGood(job, { message: "m", story: "s" }), "failed"],
  ["failed for now", ({ claims }, job) => claims.fail(job, { message: "m", story: "s", delayMs: 60_000 }), "delayed"],
  ["given back", ({ claims }, job) => claims.giveBack(job, 60_000), "delayed"],
];

test.each(
  GOES_ON.flatMap(([end, settle, list]) =>
    LOSSES.filter(([what]) => !what.startsWith("the record") && what !== "the port").map(
      ([what, , lose]) => [what, end, settle, list, lose] as const,
    ),
  ),
)("a job that was told again after the loss of %s can be %s", async (_what, _end, settle, list, lose) => {
  await using world = openOwner();
  const { job, live } = await world.running();
  const { vmId } = job;
  await lose(world, vmId);
  await world.ownership.reassert(live);
  // By another process than the one that fetched it: from what Redis holds.
  await settle(world, { ...job, token: live.identity.token });
  expect(await world.active()).toEqual([]);
  expect(await world.redis.zscore(world.bull(list), vmId)).not.toBeNull();
  expect(await lockOf(world, vmId)).toBeNull();
});

test("a job that was told again to an empty Redis keeps its attempts and comes back in the next epoch", async () => {
  await using world = openOwner();
  const { job, live } = await world.running();
  await world.redis.del(await world.redis.keys(`${world.keys.prefix.replace(/[{}]/g, "\\$&")}:*`));
  await world.ownership.reassert(live);
  expect(await world.launches.move(live.identity, RETRYING)).toBe("done");
  await world.claims.fail(live.identity, { message: "m", story: "s", delayMs: 0 });
  const again = await world.fetch(SECOND);
  expect(again).toMatchObject({ vmId: job.vmId, epoch: 2, data: { ok: true } });
  if (again === undefined) throw new Error("nothing to fetch");
  expect(await world.launches.prepare(world.identity(again), {})).toMatchObject({
    kind: "prepared",
    history: { attempts: 3, attemptsMade: 1 },
  });
  expect((await world.store.get(job.vmId))?.state).toBe("preparing");
});

test("a VM that was told again can fail, be retried by hand and run once more", async () => {
  await using world = openOwner();
  const { live } = await world.running();
  const { vmId } = live.identity;
  await world.redis.del(world.bull(vmId), `${world.bull(vmId)}:lock`, world.bull("active"));
  await world.ownership.reassert(live);
  const failed = {
    ...RETRYING,
    to: "failed",
    event: {
      type: "vm.failed",
      data: { cause: { code: "guest_panic", message: "x" }, attempt: 1, ...AT, exitCode: null },
    },
    leave: { box: HOUR_MS, tail: undefined, final: true, keepMs: HOUR_MS },
  } as const;
  expect(await world.launches.move(live.identity, failed)).toBe("done");
  await world.claims.failForGood(live.identity, { message: "m", story: "s" });
  expect(await world.store.retryByHand({ vmId, by: "local" })).toEqual({ kind: "queued" });
  expect(await world.fetch(SECOND)).toMatchObject({ vmId, epoch: 2 });
});

test("a marked VM that Redis lost in part is told again with its mark, and its host hears of the mark", async () => {
  await using world = openOwner();
  const { live } = await world.running();
  const { vmId } = live.identity;
  await world.store.requestRemoval({ vmId, reason: "requested", by: "local", force: true });
  await world.redis.del(world.keys.record(vmId), world.bull("active"));
  expect((await world.ownership.check(live)).mark).toEqual({ reason: "requested", force: true });
  expect(await world.ownership.reassert(live)).toMatchObject({ kind: "reasserted" });
  expect(await world.ownership.check(live)).toEqual({ agrees: true, mark: { reason: "requested", force: true } });
});

test("the tombstone of a purged VM is no removal mark to the host that has it still", async () => {
  await using world = openOwner();
  const { live } = await world.running();
  const { vmId } = live.identity;
  await world.redis.set(world.keys.mark(vmId), JSON.stringify({ reason: "purged", by: "drover", atMs: 1 }));
  expect(await world.launches.marked([vmId])).toEqual(new Map());
  expect((await world.ownership.check(live)).mark).toBeUndefined();
});

test("of two VMs that Redis names for one port, the one that is told again keeps it, and the other can take the next", async () => {
  await using world = openOwner();
  const { live } = await world.running();
  const ports = world.keys.ports("boot-1");
  await world.redis.hset(ports, "p:6100", "other|1|t", "v:other", 6100);
  expect(await world.ownership.reassert(live)).toEqual({ kind: "reasserted", lost: "port" });
  const next = await world.ports.take({ vmId: "other", epoch: 1, token: "t" });
  expect(next).toBeGreaterThan(6100);
  expect((await world.ports.list()).map(({ port, vmId }) => [port, vmId])).toEqual([
    [6100, live.identity.vmId],
    [next, "other"],
  ]);
});

test("a note is written by the owner only, moves nothing, and makes no record of a VM that is unknown", async () => {
  await using world = openOwner();
  const { live } = await world.running();
  const { vmId, token } = live.identity;
  const adopted = { type: "vm.adopted", data: { ...AT, port: 6100, pid: 4 } } as const;
  const notes = async () => (await world.eventTypes(vmId)).filter((type) => type === "vm.adopted").length;
  await world.ownership.note({ vmId, token: SECOND }, adopted);
  expect(await notes(), "not the owner's").toBe(0);
  const before = await world.store.get(vmId);
  await world.ownership.note({ vmId, token }, adopted);
  expect(await notes()).toBe(1);
  expect((await world.store.get(vmId))?.state, "a note moves nothing").toBe(before?.state);
  await world.ownership.note({ vmId }, adopted);
  expect(await notes(), "by nobody in particular").toBe(2);
  await world.redis.del(world.keys.record(vmId));
  await world.ownership.note({ vmId }, adopted);
  expect(await world.redis.exists(world.keys.record(vmId)), "no record comes of a note").toBe(0);
});
