import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { BatchFeeding } from "../../src/queue/batch-feeding.ts";
import { BatchStore } from "../../src/queue/batch-store.ts";
import { openRedis } from "../../src/queue/connection.ts";
import { FailureStore } from "../../src/queue/failure-store.ts";
import { RedisGeneration } from "../../src/queue/generation.ts";
import { HostRegistry } from "../../src/queue/host-registry.ts";
import type { ClaimedJob } from "../../src/queue/job-claims.ts";
import { JobClaims } from "../../src/queue/job-claims.ts";
import type { LaunchIdentity, Leave, Move } from "../../src/queue/launch-moves.ts";
import { LaunchStore } from "../../src/queue/launch-store.ts";
import { LiveConsole } from "../../src/queue/live-console.ts";
import { LostVms } from "../../src/queue/lost-vms.ts";
import { type LiveLaunch, Ownership } from "../../src/queue/ownership.ts";
import { PortSlots } from "../../src/queue/port-slots.ts";
import { VmQueue } from "../../src/queue/vm-queue.ts";
import { VmStore } from "../../src/queue/vm-store.ts";
import { VmUpkeep } from "../../src/queue/vm-upkeep.ts";
import { batchIdOf, vmIdOfItem } from "../../src/runtime/batch-id.ts";
import { fixedKeys } from "../../src/runtime/key-ring.ts";
import { COMMIT } from "../helpers/batch-world.ts";
import { hostDescription } from "../helpers/host-descriptions.ts";
import { acceptInput, KEEP, openQueueWorld } from "../helpers/queue-world.ts";
import { dumpRedis } from "../helpers/redis-dump.ts";
import { startRedisProxy } from "../helpers/redis-proxy.ts";

const VM = "11111111-1111-4111-8111-111111111111";
const TOKEN_PREFIX = "host-a:state:";
const TOKEN = `${TOKEN_PREFIX}boot-1:first`;
const HOUR_MS = 3_600_000;
const RANGE = { first: 6100, last: 6101, reserved: [] };
const RUNNING = { host: "host-a", epoch: 1, address: "127.0.0.1", port: 6100, bootMs: 1 };
const CAUSE = { code: "guest_panic", message: "it panicked" } as const;
const LEFT: Leave = { box: "keep", tail: { console: "c", qemu: "q" }, final: true, keepMs: HOUR_MS };

const moves = {
  starting: {
    to: "starting",
    event: { type: "vm.starting", data: { host: "host-a", epoch: 1, port: 6100, pid: 4 } },
    progress: {},
  },
  running: { to: "running", event: { type: "vm.running", data: RUNNING }, progress: {}, ttlMs: HOUR_MS },
  completed: {
    to: "completed",
    event: { type: "vm.completed", data: { host: "host-a", epoch: 1, reason: "guest_shutdown", exitCode: 0 } },
    progress: {},
    leave: LEFT,
  },
  failed: {
    to: "failed",
    event: { type: "vm.failed", data: { cause: CAUSE, attempt: 1, host: "host-a", epoch: 1, exitCode: null } },
    progress: {},
    leave: LEFT,
  },
} as const satisfies Record<string, Move>;

/** Everything of src/queue over one connection. */
function partsOver(world: ReturnType<typeof openQueueWorld>, url: string) {
  const { keys, logger } = world;
  const keep = { ...KEEP, completedMs: 0 };
  const redis = openRedis({ url, role: "worker", name: "lossy", logger });
  const queue = new VmQueue({ redis, keys, logger });
  const claims = new JobClaims({ redis, keys, hostId: "host-a", logger });
  const store = new VmStore({ redis, keys, eventsMax: 1_000, keep });
  return {
    batches: new BatchStore({ redis, keys }),
    feeding: new BatchFeeding({ redis, keys, store, queue, keyRing: fixedKeys(undefined), windowItems: 3 }),
    redis,
    keys,
    queue,
    claims,
    store,
    launches: new LaunchStore({ redis, keys, bootId: "boot-1", range: RANGE, eventsMax: 1_000, keep }),
    console: new LiveConsole({ redis, keys }),
    ports: new PortSlots({ redis, keys, bootId: "boot-1", range: RANGE }),
    upkeep: new VmUpkeep({ redis, keys, keep }),
    generation: new RedisGeneration({ redis, keys }),
    failures: new FailureStore({ redis, keys, keep }),
    ownership: new Ownership({ redis, keys, bootId: "boot-1", tokenPrefix: TOKEN_PREFIX, eventsMax: 1_000 }),
    hosts: new HostRegistry({ redis, keys }),
    lostVms: new LostVms({ redis, keys, eventsMax: 1_000, keep }),
    async close() {
      await claims.close();
      await queue.close();
      redis.disconnect();
    },
  };
}
type Parts = ReturnType<typeof partsOver>;

interface Step {
  readonly does: string;
  /** What comes before, over a connection that loses nothing. */
  readonly before?: (parts: Parts) => Promise<unknown>;
  readonly step: (parts: Parts, job: ClaimedJob) => Promise<unknown>;
}

const identity = ({ vmId, pool, epoch, token }: ClaimedJob): LaunchIdentity => {
  return { vmId, pool, priority: "normal", host: "host-a", epoch, token };
};
const input = () =>
  acceptInput({}, { vmId: VM, idempotencyKey: "key", sealedSecrets: "sealed", queueTimeoutMs: HOUR_MS });
const remove = ({ store }: Parts) => store.requestRemoval({ vmId: VM, reason: "requested", by: "local" });

async function submitted(parts: Parts): Promise<void> {
  const { record } = await parts.store.accept(input());
  if (record !== undefined) await parts.queue.enqueue(record);
}
async function fetched(parts: Parts): Promise<ClaimedJob> {
  await submitted(parts);
  const job = await parts.claims.fetch("default", TOKEN);
  if (job === undefined) throw new Error("nothing was fetched");
  return job;
}
async function prepared(parts: Parts): Promise<ClaimedJob> {
  const job = await fetched(parts);
  await parts.launches.prepare(identity(job), {});
  return job;
}
async function started(parts: Parts): Promise<ClaimedJob> {
  const job = await prepared(parts);
  await parts.launches.move(identity(job), moves.starting);
  return job;
}
async function ended(parts: Parts, how: "completed" | "failed"): Promise<ClaimedJob> {
  const job = await started(parts);
  await parts.launches.move(identity(job), moves.running);
  await parts.launches.move(identity(job), moves[how]);
  return job;
}
async function failedForGood(parts: Parts): Promise<void> {
  const job = await ended(parts, "failed");
  await parts.claims.failForGood(job, { message: "it panicked", story: "story" });
}
/** Both ports of the range are gone: one is the VM's, the other somebody else's. */
async function lastPort(parts: Parts): Promise<ClaimedJob> {
  const job = await prepared(parts);
  await parts.ports.take({ vmId: "other", epoch: 1, token: "t" });
  return job;
}
const story = { message: "it panicked", story: "story" };

const LOST = { code: "host_lost", message: "host host-a has not been heard of" } as const;
const HOST = hostDescription({ hostId: "host-a" });

/** What the worker of a VM knows of it, for CHECK and REASSERT. */
async function liveLaunch({ ownership }: Parts, job: ClaimedJob): Promise<LiveLaunch> {
  if (!job.data.ok) throw new Error("a job that cannot be read");
  const snapshot = await ownership.snapshot(VM);
  const known = { state: "starting", port: 6100, fields: {}, deadlineAtMs: undefined } as const;
  return { identity: identity(job), snapshot, job: job.data.value, ...known };
}
/** A VM whose host has no lease, as a reaper sees it. */
async function seen(parts: Parts) {
  const [vm] = await parts.lostVms.look(await parts.lostVms.held());
  if (vm === undefined) throw new Error("no VM is held");
  return vm;
}

const BATCH = batchIdOf("local\0key");
async function uploaded({ batches }: Parts): Promise<void> {
  const upload = batches.newUpload({ owner: "local", idempotencyKey: "key" });
  for (let line = 1; line <= 5; line++) await upload.add({ line, spec: {} });
  await upload.commit(COMMIT);
}
async function cancelled(parts: Parts): Promise<void> {
  await uploaded(parts);
  await parts.feeding.step(BATCH);
  await parts.batches.cancel(BATCH, "local");
}

const STEPS: readonly Step[] = [
  { does: "ACCEPT", step: ({ store }) => store.accept(input()).then(({ kind, vmId }) => [kind, vmId]) },
  {
    does: "adding the job",
    before: ({ store }) => store.accept(input()),
    step: async ({ queue, store }) => {
      const record = await store.get(VM);
      if (record !== undefined) await queue.enqueue(record);
    },
  },
  {
    does: "PREPARE",
    before: fetched,
    step: async ({ launches }, job) => {
      const prepared = await launches.prepare(identity(job), { tee: "none" });
      if (prepared.kind !== "prepared") return prepared;
      // When it began to wait is another time in each of these worlds.
      return { ...prepared, history: { ...prepared.history, queuedAtMs: typeof prepared.history.queuedAtMs } };
    },
  },
  {
    does: "PREPARE of a marked VM",
    before: async (parts) => [await fetched(parts), await remove(parts)][0],
    // The second answer is "it has ended already": whoever fetched it settles the job from the record, as after the first.
    step: async ({ launches }, job) =>
      ["marked", "wrong_state"].includes((await launches.prepare(identity(job), {})).kind),
  },
  {
    does: "CHANGE_PORT",
    before: prepared,
    step: ({ launches }, job) => launches.changePort(identity(job), 6100, HOUR_MS),
  },
  {
    does: "CHANGE_PORT without another port",
    before: lastPort,
    step: ({ launches }, job) => launches.changePort(identity(job), 6100, HOUR_MS),
  },
  { does: "a move", before: started, step: ({ launches }, job) => launches.move(identity(job), moves.running) },
  {
    does: "a final move",
    before: started,
    step: ({ launches }, job) => launches.move(identity(job), moves.completed).then((o) => [o, launches.freePorts]),
  },
  {
    does: "APPEND_CONSOLE",
    before: started,
    step: async ({ console }, { vmId, token }) => {
      await console.append({ vmId, token, data: Buffer.from("one "), skippedBytes: 0 });
      await console.append({ vmId, token, data: Buffer.from("two "), skippedBytes: 3 });
      return console.read(vmId).then((window) => [window?.startOffset, window?.data.toString()]);
    },
  },
  {
    does: "completing",
    before: (p) => ended(p, "completed"),
    step: ({ claims }, job) => claims.complete(job, { a: 1 }),
  },
  {
    does: "failing with a retry",
    before: (parts) => ended(parts, "failed"),
    step: ({ claims }, job) => claims.fail(job, { ...story, delayMs: HOUR_MS }),
  },
  {
    does: "failing for good",
    before: (parts) => ended(parts, "failed"),
    step: ({ claims }, job) => claims.failForGood(job, story),
  },
  { does: "giving back", before: fetched, step: ({ claims }, job) => claims.giveBack(job, HOUR_MS) },
  { does: "extending locks", before: started, step: ({ claims }, job) => claims.extendLocks([job]) },
  { does: "RETRY", before: failedForGood, step: ({ store }) => store.retryByHand({ vmId: VM, by: "local" }) },
  {
    does: "REMOVE of a waiting VM",
    before: submitted,
    step: async (parts) => ["removed", "final"].includes((await remove(parts)).kind), // either way it is over
  },
  { does: "REMOVE of a running VM", before: started, step: remove },
  { does: "telling its host", before: started, step: ({ queue }) => queue.notifyRemoval("host-a", VM) },
  { does: "REMOVE of a failed VM", before: failedForGood, step: remove },
  {
    does: "DISMISS_FAILURE",
    before: failedForGood,
    step: async ({ failures, redis, keys }) => {
      const group = (await redis.hget(keys.record(VM), "failureGroup")) ?? "dismissed already";
      await failures.dismiss({ vmId: VM, group, by: "local" }); // the answer may miss the one whose reply was lost
      return failures.groups({});
    },
  },
  {
    does: "NOTE_LAUNCH_FILES",
    before: failedForGood,
    step: ({ launches }) => launches.noteFiles(VM, { epoch: 1, qemuVersion: "7.2.22", files: [] }),
  },
  {
    does: "PURGE",
    before: async (parts) => [await submitted(parts), await remove(parts)],
    step: async ({ upkeep, store }) => {
      await upkeep.purgeExpired(10); // the number may miss the one whose reply was lost
      return store.get(VM);
    },
  },
  {
    does: "CLAIM",
    before: started,
    step: ({ ownership }, job) => ownership.claim({ ...identity(job), token: `${TOKEN_PREFIX}boot-1:second` }),
  },
  {
    does: "REASSERT",
    before: started,
    step: async (parts, job) => {
      const live = await liveLaunch(parts, job);
      await parts.redis.del(parts.keys.record(VM), parts.keys.bull("vm.default", VM));
      // The second answer is that all is well: it is, and nothing is told twice.
      return ["reasserted", "ours"].includes((await parts.ownership.reassert(live)).kind);
    },
  },
  {
    does: "an event of its own",
    before: started,
    step: ({ ownership }, { token }) => {
      const data = { host: "host-a", epoch: 1, port: 6100, pid: 4 };
      return ownership.note({ vmId: VM, token }, { type: "vm.adopted", data });
    },
  },
  { does: "LEASE_TAKE", step: ({ hosts }) => hosts.take(HOST, HOUR_MS) },
  {
    does: "renewing a lease",
    before: (p) => p.hosts.take(HOST, HOUR_MS),
    step: ({ hosts }) => hosts.renew(HOST, HOUR_MS),
  },
  { does: "LEASE_LEAVE", before: (p) => p.hosts.take(HOST, HOUR_MS), step: ({ hosts }) => hosts.goAway(HOST, HOUR_MS) },
  {
    does: "REAP",
    before: started,
    step: async (parts) => {
      const outcome = await parts.lostVms.reap(await seen(parts), { cause: LOST, endProved: false });
      return ["queued", "changed"].includes(outcome); // the second time it is the reaper's no more
    },
  },
  {
    does: "FORGET_VM of a marked VM",
    before: async (parts) => [await started(parts), await remove(parts)],
    step: async (parts) =>
      ["removed", "changed"].includes(await parts.lostVms.forget(await seen(parts), { cause: LOST })),
  },
  {
    does: "FORGET_HOST",
    before: async ({ hosts }) => {
      for (const hostId of ["host-a", "host-b"]) await hosts.take(hostDescription({ hostId }), HOUR_MS);
      await hosts.withdraw(HOST);
    },
    step: ({ hosts }) => hosts.remove("host-a"),
  },
  {
    does: "BATCH_COMMIT",
    step: async ({ batches }) => {
      const upload = batches.newUpload({ owner: "local", idempotencyKey: "key" });
      for (let line = 1; line <= 150; line++) await upload.add({ line, spec: {}, sealed: "sealed" });
      return upload.commit(COMMIT);
    },
  },
  { does: "a step of a batch", before: uploaded, step: ({ feeding }) => feeding.step(BATCH) },
  {
    does: "BATCH_CANCEL",
    before: async (parts) => [await uploaded(parts), await parts.feeding.step(BATCH)],
    step: ({ batches }) => batches.cancel(BATCH, "local"),
  },
  { does: "removing the VMs of a batch", before: cancelled, step: ({ feeding }) => feeding.step(BATCH) },
  {
    does: "BATCH_RETRY",
    before: async (parts) => {
      await uploaded(parts);
      await parts.feeding.step(BATCH);
      for (let job = await parts.claims.fetch("default", TOKEN); job !== undefined; ) {
        await parts.launches.prepare(identity(job), {});
        const { event, leave } = moves.failed;
        const fields = { cause: JSON.stringify(CAUSE) };
        await parts.launches.move(identity(job), { to: "failed", event, fields, progress: {}, leave });
        await parts.claims.failForGood(job, story);
        job = await parts.claims.fetch("default", TOKEN);
      }
    },
    step: ({ batches }) => batches.retryFailed(BATCH),
  },
  {
    does: "BATCH_DROP",
    before: uploaded,
    // Either way it is taken from the list.
    step: async ({ batches }) => ["removed", "final"].includes(await batches.removeListed(vmIdOfItem(BATCH, 1))),
  },
  { does: "TAKE_PORT", step: ({ ports }) => ports.take({ vmId: VM, epoch: 1, token: TOKEN }) },
  {
    does: "GIVE_PORT",
    before: ({ ports }) => ports.take({ vmId: VM, epoch: 1, token: TOKEN }),
    step: async ({ ports }) => {
      await ports.give({ vmId: VM, epoch: 1, token: TOKEN }, 6100, HOUR_MS); // false: it was given the first time
      return ports.free();
    },
  },
];

/** Does a step with the reply to its nth command lost; undefined when it has not as many commands. */
async function outcomeOf({ before, step }: Step, loseNth: number | undefined) {
  await using world = openQueueWorld({ range: RANGE });
  await using proxy = await startRedisProxy(world.url);
  const clean = partsOver(world, world.url);
  const lossy = partsOver(world, proxy.url);
  try {
    const job = (await before?.(clean)) as ClaimedJob; // what a step needs, its `before` gives
    await lossy.redis.ping();
    const loss = loseNth === undefined ? undefined : proxy.loseReply(loseNth);
    const value = await step(lossy, job);
    if (loss !== undefined && loss.command() === undefined) return undefined;
    return { value, redis: await dumpRedis(world.redis, world.keys, [VM, vmIdOfItem(BATCH, 0)]) };
  } finally {
    await clean.close();
    await lossy.close();
  }
}

test.each(STEPS)(
  "$does: a lost reply, whichever it is, changes neither the answer nor what Redis holds",
  async (step) => {
    const expected = await outcomeOf(step, undefined);
    expect(Object.keys(expected?.redis ?? {}).length).toBeGreaterThan(0);
    let lost = 0;
    for (;;) {
      const outcome = await outcomeOf(step, lost + 1);
      if (outcome === undefined) break;
      lost += 1;
      expect(outcome, `reply ${lost}`).toEqual(expected);
    }
    expect(lost).toBeGreaterThan(0);
  },
);

test("a fetch whose reply is lost gives one job; what else became active under its token is found and given back", async () => {
  await using world = openQueueWorld();
  await using proxy = await startRedisProxy(world.url);
  const vmIds = [await world.submit(), await world.submit(), await world.submit()];
  const lossy = partsOver(world, proxy.url);
  await lossy.claims.fetch("empty", TOKEN); // connects, and Redis knows the script
  const loss = proxy.loseReply();
  const job = await lossy.claims.fetch("default", TOKEN);
  expect(loss.command()).toMatch(/^eval/);
  expect(job?.vmId).toBe(vmIds[1]);
  const unknown = await world.claims.unknown(TOKEN_PREFIX, (known) => known.vmId === job?.vmId);
  expect(unknown.map(({ vmId, token }) => [vmId, token])).toEqual([[vmIds[0], TOKEN]]);
  for (const orphan of unknown) await world.claims.giveBack(orphan, 1);
  if (job === undefined) return;
  expect((await lossy.launches.prepare(identity(job), {})).kind).toBe("prepared");
  const next = async () => (await world.fetch(`host-a:${randomUUID()}`))?.vmId;
  await expect.poll(next, { timeout: 5_000 }).toBe(vmIds[0]);
  expect(await next()).toBe(vmIds[2]);
  expect(await world.redis.lrange(world.keys.bull("vm.default", "active"), 0, -1)).toHaveLength(3);
  await lossy.close();
});

test("a generation that is asked for twice because of a lost reply gives the same verdict", async () => {
  await using world = openQueueWorld();
  await using proxy = await startRedisProxy(world.url);
  const lossy = partsOver(world, proxy.url);
  await lossy.generation.remember();
  for (const [makeLoss, verdict] of [
    [async () => undefined, "same"],
    [() => world.redis.hset(world.keys.generation, "count", -5), "behind"],
    [() => world.redis.del(world.keys.generation), "lost"],
    [async () => undefined, "same"],
  ] as const) {
    await makeLoss();
    const loss = proxy.loseReply();
    expect(await lossy.generation.check()).toBe(verdict);
    expect(loss.command()).toBe("evalsha");
  }
  await lossy.close();
});
