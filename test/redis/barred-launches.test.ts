import { expect, test } from "vitest";
import type { Move } from "../../src/queue/launch-moves.ts";
import { Sweeper } from "../../src/queue/sweeper.ts";
import { acceptInput, openQueueWorld } from "../helpers/queue-world.ts";
import { waitFor } from "../helpers/wait-for.ts";

const AT = { host: "host-a", epoch: 1 } as const;
const CAUSE = { code: "guest_panic", message: "it panicked" } as const;
const KEPT = { box: "keep", tail: undefined, final: false, keepMs: 1 } as const;
const ENDED = { box: "delete", tail: undefined, final: true, keepMs: 60_000 } as const;

const starting: Move = {
  to: "starting",
  event: { type: "vm.starting", data: { ...AT, port: 6100, pid: 4 } },
  progress: {},
};
const running: Move = {
  to: "running",
  event: { type: "vm.running", data: { ...AT, port: 6100, address: "127.0.0.1", bootMs: 1 } },
  progress: {},
};
const ready: Move = { to: "ready", event: { type: "vm.ready", data: { ...AT, readyMs: 1 } }, progress: {} };
const retrying: Move = {
  to: "retrying",
  event: { type: "vm.retrying", data: { ...AT, cause: CAUSE, attempt: 1, attempts: 3, delayMs: 1 } },
  progress: {},
  leave: KEPT,
};
const requeued: Move = {
  to: "queued",
  event: { type: "vm.queued", data: { pool: "default", reason: "released", delayMs: 1 } },
  progress: {},
  leave: KEPT,
};
const stopping: Move = {
  to: "stopping",
  event: { type: "vm.stopping", data: { ...AT, reason: "requested" } },
  progress: {},
};
const removed: Move = {
  to: "removed",
  event: { type: "vm.removed", data: { reason: "requested" } },
  progress: {},
  leave: ENDED,
};

async function launched(world: ReturnType<typeof openQueueWorld>, moves: readonly Move[]) {
  const vmId = await world.submit();
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing to fetch");
  const launch = world.identity(job);
  await world.launches.prepare(launch, {});
  for (const move of moves) expect(await world.launches.move(launch, move)).toBe("done");
  return { vmId, job, launch };
}

test.each([
  ["starting", [], starting],
  ["running", [starting], running],
  ["ready", [starting, running], ready],
  ["the queue, for another attempt", [starting, running], retrying],
  ["the queue, because its worker stops", [starting, running], requeued],
] as const)(
  "a VM whose removal was asked for does not come to %s any more: only its end is open",
  async (_what, before, move) => {
    await using world = openQueueWorld();
    const { vmId, launch } = await launched(world, before);
    await world.store.requestRemoval({ vmId, reason: "requested", by: "local" });
    const told = await world.eventTypes(vmId);
    expect(await world.launches.move(launch, move)).toBe("marked");
    expect(await world.eventTypes(vmId)).toEqual(told);
    expect(await world.ports.list(), "its port is held until its end is proved").toHaveLength(1);
    expect(await world.launches.move(launch, stopping)).toBe("done");
    expect(await world.launches.move(launch, removed)).toBe("done");
    expect((await world.store.get(vmId))?.state).toBe("removed");
  },
);

test("the job of a VM that has ended takes no launch, whoever brings it back and however high its epoch is", async () => {
  await using world = openQueueWorld();
  const { vmId, job, launch } = await launched(world, [starting, running, stopping, removed]);
  await world.claims.giveBack(job, 1); // a worker that did not hear of the end
  const again = await waitFor(() => world.fetch(), { what: "the job to come again" });
  expect(again).toMatchObject({ vmId, epoch: 2 });
  await world.redis.del(world.keys.mark(vmId)); // the state alone must be enough
  const told = await world.eventTypes(vmId);
  const second = { ...launch, epoch: again.epoch, token: again.token };
  expect((await world.launches.prepare(second, {})).kind).toBe("wrong_state");
  expect(await world.store.get(vmId)).toMatchObject({ state: "removed", epoch: 1 });
  expect(await world.eventTypes(vmId)).toEqual(told);
  expect(await world.ports.list()).toEqual([]);
});

test("a sweeper adds the job of a VM whose API died after accepting it, and none of one that has ended", async () => {
  await using world = openQueueWorld();
  const { vmId: waiting } = await world.store.accept(acceptInput());
  const { vmId: gone } = await world.store.accept(acceptInput());
  const pending = world.keys.pendingJobs;
  await world.store.requestRemoval({ vmId: gone, reason: "requested", by: "local" });
  await world.redis.zadd(pending, 1, gone); // an API that was slow to take the request has put it there again
  await world.redis.zadd(pending, 1, waiting);
  const added: string[] = [];
  const queue = Object.assign(Object.create(world.queue), {
    enqueue: (record: Parameters<typeof world.queue.enqueue>[0]) => {
      added.push(record.vmId);
      return world.queue.enqueue(record);
    },
  });
  const { store, upkeep, logger } = world;
  await new Sweeper({ store, upkeep, queue, logger, intervalMs: 1 }).sweep();
  expect(added).toEqual([waiting]);
  expect(await world.redis.zcard(pending)).toBe(0);
  expect(await world.fetch()).toMatchObject({ vmId: waiting });
  expect(await world.fetch()).toBeUndefined();
});
