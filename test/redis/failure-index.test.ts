import fc from "fast-check";
import { pino } from "pino";
import { expect, inject, test } from "vitest";
import { openRedis } from "../../src/queue/connection.ts";
import { FailureBackfill } from "../../src/queue/failure-backfill.ts";
import { FailureStore, type GroupPosition } from "../../src/queue/failure-store.ts";
import type { LaunchIdentity, Leave } from "../../src/queue/launch-moves.ts";
import { readFailureIndex, recountFailures } from "../helpers/failure-index.ts";
import { KEEP, openQueueWorld } from "../helpers/queue-world.ts";
import { openRedisWorld } from "../helpers/redis-world.ts";
import { carryOut, type Operation, operationLists } from "../model/redis/store-operations.ts";
import { openStoreSide, type StoreSide, VM_IDS } from "../model/redis/store-side.ts";

const LISTS = Number(process.env["DROVER_LISTS"] ?? 150);
const seed = Number(process.env["SEED"] ?? 20_262);
const FAILED: Leave = { box: 60_000, tail: undefined, final: true, keepMs: 60_000 };

type Name = Operation["name"];

const LAUNCH: readonly Name[] = ["take", "fetch", "prepare", "starting"];
const LOST: readonly Name[] = ["leaseLapses", "lookForHeld", "reap"];
/** Ways in which a launch fails, with what settles its job. */
const FAILURES: readonly (readonly Name[])[] = [
  ["failed", "failForGood"],
  ["failed", "failForGood"],
  ["failed"],
  ["retrying", "fail"],
  ["requeued", "giveBack"],
  LOST,
  ["leaseLapses", "lookForHeld", "forget"],
  [...LOST, ...LAUNCH, ...LOST, ...LAUNCH, ...LOST], // poisoned
];
/** What becomes of the VM then. */
const SEQUELS: readonly (readonly Name[])[] = [
  [],
  ["retryByHand"],
  ["retryByHand", ...LAUNCH, "failed", "failForGood"],
  ["dismiss"],
  ["dismiss", "retryByHand", ...LAUNCH, "failed", "failForGood"],
  ["remove"],
  ["purge"],
  ["dismiss", "purge"],
  [...LAUNCH, "failed", "failForGood"],
  [...LAUNCH, "completed", "complete", "purge"],
  ["reassert"],
];
/** Each life is on one VM and one host; odd options would delay the next launch beyond the test. */
const lives = fc
  .tuple(
    fc.record({ vm: fc.nat(2), host: fc.nat(1), option: fc.nat(29).map((half) => 2 * half) }),
    fc.constantFrom(...FAILURES),
    fc.array(fc.constantFrom(...SEQUELS), { minLength: 1, maxLength: 2 }),
  )
  .map(([on, failure, sequels]) =>
    (["accept", "enqueue", ...LAUNCH, ...failure, ...sequels.flat()] as const).map((name) => ({ ...on, name })),
  );
const failingLists = fc.array(lives, { minLength: 1, maxLength: 4 }).map((parts) => parts.flat());

test("whatever happens to VMs, the index of failures says what a recount of all records says", {
  timeout: 60_000,
}, async () => {
  await using world = openRedisWorld();
  const { redis, keys } = world;
  const bull = openRedis({
    url: inject("redisUrl"),
    role: "worker",
    name: "test-bull",
    logger: pino({ level: "silent" }),
  });
  let counted = 0;
  try {
    await fc.assert(
      fc.asyncProperty(fc.oneof(failingLists, failingLists, operationLists), async (operations) => {
        const left = await redis.keys(`${keys.prefix.replace(/[{}]/g, "\\$&")}*`);
        if (left.length > 0) await redis.del(left);
        const side = openStoreSide({ redis, bull, keys });
        // A Redis that loses a single key and keeps the others does not exist outside of tests.
        for (const operation of operations.filter(({ name }) => name !== "loseRecord")) {
          if (operation.name === "purge") await letTimePass(side);
          await carryOut(side, operation);
        }
        const expected = await recountFailures(redis, keys, VM_IDS);
        counted += Object.keys(expected).length;
        expect(await readFailureIndex(redis, keys)).toEqual(expected);
      }),
      { seed, numRuns: LISTS, endOnFailure: false },
    );
    expect(counted, "failures that were counted").toBeGreaterThan(LISTS);
  } finally {
    bull.disconnect();
  }
});

/** Whatever has ended may be purged. */
async function letTimePass({ redis, keys }: StoreSide): Promise<void> {
  for (const vmId of VM_IDS) await redis.zadd(keys.expiry, "XX", 0, vmId);
}

type World = ReturnType<typeof openQueueWorld>;

async function launch(world: World): Promise<LaunchIdentity> {
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing fetched");
  await world.launches.prepare(world.identity(job), {});
  return world.identity(job);
}

const CRASH = { code: "qemu_crashed", message: "it crashed" } as const;

/** The launch failed for good. */
async function fail(world: World, identity: LaunchIdentity): Promise<void> {
  const data = { cause: CRASH, attempt: 1, host: "host-a", epoch: identity.epoch, exitCode: null };
  const fields = { cause: JSON.stringify(CRASH) };
  await world.launches.move(identity, {
    to: "failed",
    event: { type: "vm.failed", data },
    fields,
    progress: {},
    leave: FAILED,
  });
  await world.claims.failForGood(identity, { message: "m", story: "s" });
}

test("a launch that failed and is launched again counts beside the failed ones, until its VM is purged", async () => {
  await using world = openQueueWorld();
  const failures = new FailureStore({ ...world, keep: KEEP });
  const vmId = await world.submit({}, { sealedSecrets: "sealed" });
  const first = await launch(world);
  await world.launches.move(first, {
    to: "retrying",
    event: {
      type: "vm.retrying",
      data: { host: "host-a", epoch: 1, cause: CRASH, attempt: 1, attempts: 3, delayMs: 0 },
    },
    fields: { cause: JSON.stringify(CRASH) },
    progress: {},
    leave: { ...FAILED, box: "keep", final: false },
  });
  await world.claims.fail(first, { message: "m", story: "s", delayMs: 0 });
  expect(await failures.groups({})).toMatchObject([{ id: "qemu_crashed@host-a", failed: 0, launchedAgain: 1 }]);
  const second = await launch(world);
  await world.launches.move(second, {
    to: "failed",
    event: { type: "vm.failed", data: { cause: CRASH, attempt: 2, host: "host-a", epoch: 2, exitCode: null } },
    fields: {
      cause: JSON.stringify(CRASH),
      launches: JSON.stringify([{ epoch: 2, host: "host-a", port: null, startedAtMs: 1, endedAtMs: 2, cause: CRASH }]),
    },
    progress: {},
    leave: { ...FAILED, box: 1, keepMs: 0 },
  });
  await world.claims.failForGood(second, { message: "m", story: "s" });
  expect(await failures.groups({ owner: "local", cause: "qemu_crashed", host: "host-a" })).toMatchObject([
    { failed: 1, launchedAgain: 1, example: { vmId, message: "it crashed" } },
  ]);
  expect(await failures.groups({ owner: "other" })).toEqual([]);
  expect(await failures.groups({ host: "host-b" })).toEqual([]);
  expect(await failures.groups({ sinceMs: Date.now() + 60_000 })).toEqual([]);
  expect(await world.upkeep.purgeExpired(10)).toBe(1);
  expect(await failures.groups({})).toEqual([]);
  expect(await world.redis.keys(`${world.keys.prefix.replace(/[{}]/g, "\\$&")}:state:failed:*`)).toEqual([]);
});

test("VMs that a version without groups has failed, retried or launched find their way into the index, and out of it", async () => {
  await using world = openQueueWorld();
  const { redis, keys } = world;
  const failures = new FailureStore({ ...world, keep: KEEP });
  const vmIds: string[] = [];
  for (let count = 0; count < 5; count++) {
    const vmId = await world.submit();
    vmIds.push(vmId);
    await fail(world, await launch(world));
    await redis.hdel(keys.record(vmId), "failureGroup");
  }
  const [seen = "", gone = ""] = vmIds;
  await redis.hset(keys.record(seen), "dismissed", '{"by":"ada","atMs":1}');
  await redis.hset(keys.record(gone), "removal", '{"reason":"requested","by":"ada","atMs":1,"force":false}');
  await redis.del(...(await redis.keys(`${keys.prefix.replace(/[{}]/g, "\\$&")}:state:failed:*`)));
  const backfill = new FailureBackfill({ redis, keys });
  expect([await backfill.step(3, 0), await backfill.step(3, 0), await backfill.step(3, 1)]).toEqual([1, 2, 0]);
  expect(await failures.groups({})).toMatchObject([{ id: "qemu_crashed@host-a", failed: 3 }]);
  expect(await readFailureIndex(redis, keys)).toEqual(await recountFailures(redis, keys, vmIds));
  // A retry by an older API leaves the VM in its group: its next launch takes it out.
  const retried = vmIds[4] ?? "";
  const group = await redis.hget(keys.record(retried), "failureGroup");
  await world.store.retryByHand({ vmId: retried, by: "ada" });
  await redis.hset(keys.record(retried), "failureGroup", group ?? "");
  await launch(world);
  expect(await redis.hget(keys.record(retried), "failureGroup")).toBeNull();
});

test("a group is gone through in pages, also where many VMs failed in one moment", async () => {
  await using world = openRedisWorld();
  const failures = new FailureStore({ ...world, keep: KEEP });
  const group = "disk_full@host-a";
  const ids = Array.from({ length: 9 }, (_, n) => `vm-${n}`);
  for (const [n, id] of ids.entries())
    await world.redis.zadd(world.keys.failureGroup(group, "vms"), n < 7 ? 5 : 6 + n, id);
  const seen: string[] = [];
  for (let after: GroupPosition | undefined; ; ) {
    const page = await failures.members({ group, owner: undefined, kind: "vms", after, untilMs: 13, count: 2 });
    if (page.length === 0) break;
    seen.push(...page.map(({ vmId }) => vmId));
    after = page.at(-1);
  }
  expect(seen, "all but the one that failed later").toEqual(ids.slice(0, 8));
});

test("a launch whose host was lost is kept as well, with the command that Redis knew", async () => {
  await using world = openRedisWorld();
  const { redis, keys } = world;
  const bull = openRedis({ url: world.url, role: "worker", name: "test-bull", logger: pino({ level: "silent" }) });
  try {
    const side = openStoreSide({ redis, bull, keys });
    const [vmId = ""] = VM_IDS;
    const carry = (names: readonly Name[]) =>
      names.reduce(async (before, name) => {
        await before;
        await carryOut(side, { name, vm: 0, host: 0, option: 0 });
      }, Promise.resolve());
    await carry(["accept", "enqueue", ...LAUNCH]);
    await redis.hset(keys.record(vmId), "command", "qemu -uuid x");
    await carry(LOST);
    expect(await side.failures.forensics(vmId)).toMatchObject([
      { launch: { epoch: 1, host: "host-a", port: 6100, cause: { code: "host_lost" }, command: "qemu -uuid x" } },
    ]);
    await side.close();
  } finally {
    bull.disconnect();
  }
});

test("a launch that failed while its VM was being removed counts nowhere", async () => {
  await using world = openQueueWorld();
  await world.submit();
  const identity = await launch(world);
  const progress = {};
  const data = { host: "host-a", epoch: 1, reason: "requested" } as const;
  await world.launches.move(identity, { to: "stopping", event: { type: "vm.stopping", data }, progress });
  await world.launches.move(identity, {
    to: "removed",
    event: { type: "vm.removed", data: { reason: "requested" } },
    fields: { cause: JSON.stringify(CRASH) },
    progress,
    leave: FAILED,
  });
  expect(await new FailureStore({ ...world, keep: KEEP }).groups({})).toEqual([]);
});
