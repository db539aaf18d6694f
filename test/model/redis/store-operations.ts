import fc from "fast-check";
import type { VmState } from "../../../src/contract/vm-state.ts";
import type { Leave } from "../../../src/queue/launch-moves.ts";
import { poolQueueName } from "../../../src/queue/redis-keys.ts";
import { hostDescription } from "../../helpers/host-descriptions.ts";
import { acceptInput } from "../../helpers/queue-world.ts";
import {
  BATCH_ID,
  BATCH_ITEMS,
  BATCH_KEY,
  HOST_IDS,
  identityOf,
  type KnownLaunch,
  liveOf,
  type StoreSide,
  VM_IDS,
} from "./store-side.ts";

/**
 * What an operation is done with; which of it counts, the operation knows. Times are over at once or not within the
 * test, so that it does not matter how long that takes.
 */
export interface Operation {
  readonly name: OperationName;
  readonly vm: number;
  readonly host: number;
  readonly option: number;
}

type Carry = (side: StoreSide, operation: Operation) => Promise<unknown>;

const CAUSE = { code: "host_lost", message: "not heard of" } as const;
const CAUSES = [CAUSE, { code: "kernel_missing", message: "no kernel" }] as const;
/** An even option fails at once again, an odd one later: the cause must not go with it. */
const causeOf = (option: number) => CAUSES[Math.floor(option / 2) % CAUSES.length] ?? CAUSE;
const FAILING: readonly VmState[] = ["failed", "retrying", "queued"];
const FINAL_LEAVE: Leave = { box: "delete", tail: { console: "c", qemu: "q" }, final: true, keepMs: 1_000 };
const BACK_LEAVE: Leave = { box: "keep", tail: undefined, final: false, keepMs: 1_000 };

function vmIdOf({ vm }: Operation): string {
  return VM_IDS[vm % VM_IDS.length] ?? "";
}

function hostOf(side: StoreSide, { host }: Operation) {
  const found = side.hosts[host % HOST_IDS.length];
  if (found === undefined) throw new Error("no such host");
  return found;
}

/** The launch that the operation is about, or undefined: then there is nothing to do. */
function launchOf(side: StoreSide, operation: Operation): KnownLaunch | undefined {
  return side.launches.get(`${hostOf(side, operation).hostId}/${vmIdOf(operation)}`);
}

function withLaunch(
  act: (
    host: ReturnType<typeof hostOf>,
    launch: KnownLaunch,
    side: StoreSide,
    operation: Operation,
  ) => Promise<unknown>,
): Carry {
  return async (side, operation) => {
    const launch = launchOf(side, operation);
    return launch === undefined ? "nothing" : act(hostOf(side, operation), launch, side, operation);
  };
}

function newToken(side: StoreSide, { hostId, stateId, bootId }: ReturnType<typeof hostOf>): string {
  side.tokens += 1;
  return `${hostId}:${stateId}:${bootId}:${side.tokens}`;
}

function move(to: VmState, leave?: Leave): Carry {
  return withLaunch(async (host, launch, _side, { option }) => {
    const { hostId } = host;
    const outcome = await host.launches.move(identityOf(hostId, launch), {
      to,
      event: { type: "vm.stopping", data: { host: hostId, epoch: launch.job.epoch, reason: "requested" } },
      fields: {
        address: to === "running" ? "10.0.0.1" : null,
        endReason: leave === undefined ? null : "x",
        cause: FAILING.includes(to) ? JSON.stringify(causeOf(option)) : null,
      },
      progress: { option },
      ttlMs: to === "running" ? [undefined, 0, 3_600_000][option % 3] : undefined,
      leave,
    });
    if (outcome === "done" && leave === undefined) launch.state = to as KnownLaunch["state"];
    return outcome;
  });
}

function description({ hostId, stateId, bootId }: ReturnType<typeof hostOf>) {
  return hostDescription({ hostId, stateId, bootId });
}

const OPERATIONS = {
  accept: (side, operation) =>
    side.store.accept(
      acceptInput(
        { name: "n", labels: { a: "b" } },
        {
          vmId: vmIdOf(operation),
          owner: ["local", "other"][operation.host % 2] ?? "",
          idempotencyKey: operation.option % 3 === 0 ? `key-${operation.option % 2}` : undefined,
          priority: (["normal", "high"] as const)[operation.option % 2] ?? "normal",
          queueTimeoutMs: operation.option % 4 === 1 ? 0 : undefined,
          sealedSecrets: operation.option % 2 === 0 ? "sealed" : undefined,
          digest: `d${operation.option % 2}`,
        },
      ),
    ),
  enqueue: async (side, operation) => {
    const record = await side.store.get(vmIdOf(operation));
    if (record === undefined) return "nothing";
    return side.queue.enqueue(record);
  },
  fetch: async (side, operation) => {
    const host = hostOf(side, operation);
    const job = await host.claims.fetch("default", newToken(side, host));
    if (job === undefined) return "nothing";
    const launch: KnownLaunch = { job, token: job.token, port: undefined, state: "preparing", snapshot: undefined };
    side.launches.set(`${host.hostId}/${job.vmId}`, launch);
    return job;
  },
  prepare: withLaunch(async (host, launch) => {
    const prepared = await host.launches.prepare(identityOf(host.hostId, launch), { tee: "none", accel: null });
    if (prepared.kind === "prepared") launch.port = prepared.port;
    return [prepared, host.launches.freePorts];
  }),
  starting: move("starting"),
  running: move("running"),
  ready: move("ready"),
  stopping: move("stopping"),
  completed: move("completed", FINAL_LEAVE),
  failed: move("failed", { ...FINAL_LEAVE, box: 1_000 }),
  removed: move("removed", FINAL_LEAVE),
  retrying: move("retrying", BACK_LEAVE),
  requeued: move("queued", BACK_LEAVE),
  changePort: withLaunch(async (host, launch, _side, { option }) => {
    if (launch.port === undefined) return "nothing";
    launch.port = await host.launches.changePort(
      identityOf(host.hostId, launch),
      launch.port,
      [0, 3_600_000][option % 2] ?? 0,
    );
    return launch.port;
  }),
  givePort: withLaunch(async (host, launch) =>
    launch.port === undefined ? "nothing" : host.launches.givePort(identityOf(host.hostId, launch), launch.port),
  ),
  complete: withLaunch((host, launch) =>
    host.claims.complete(identityOf(host.hostId, launch), { outcome: "completed" }),
  ),
  fail: withLaunch((host, launch, _side, { option }) =>
    host.claims.fail(identityOf(host.hostId, launch), {
      message: "m",
      story: "s",
      delayMs: [0, 3_600_000][option % 2] ?? 0,
    }),
  ),
  failForGood: withLaunch((host, launch) =>
    host.claims.failForGood(identityOf(host.hostId, launch), { message: "m", story: "s" }),
  ),
  giveBack: withLaunch((host, launch, _side, { option }) =>
    host.claims.giveBack(identityOf(host.hostId, launch), [0, 3_600_000][option % 2] ?? 0),
  ),
  remove: (side, operation) =>
    side.store.requestRemoval({
      vmId: vmIdOf(operation),
      reason: (["requested", "requested", "ttl", "queue_timeout"] as const)[operation.option % 4] ?? "requested",
      by: "me",
      force: operation.option % 5 === 0,
    }),
  notifyRemoval: (side, operation) => side.queue.notifyRemoval(hostOf(side, operation).hostId, vmIdOf(operation)),
  retryByHand: (side, operation) => side.store.retryByHand({ vmId: vmIdOf(operation), by: "me" }),
  dismiss: (side, operation) =>
    side.failures.dismiss({
      vmId: vmIdOf(operation),
      group: `${causeOf(operation.option).code}@${hostOf(side, operation).hostId}`,
      by: "me",
    }),
  failures: async (side, { option }) =>
    (await side.failures.groups({ owner: [undefined, "local", "other"][option % 3] })).map(
      ({ firstAtMs: _first, lastAtMs: _last, example: _example, ...group }) => group,
    ),
  batch: async (side, { option }) => {
    const upload = side.batches.newUpload({ owner: "local", idempotencyKey: BATCH_KEY });
    for (let line = 1; line <= BATCH_ITEMS; line++)
      await upload.add({ line, spec: { name: `n${line}` }, sealed: line === 2 ? "sealed" : undefined });
    return upload.commit({
      digest: `d${Number(option % 5 === 0)}`,
      defaults: { labels: { a: "b" } },
      maxParallel: [undefined, 1, 2][option % 3],
      stopAfterFailures: [undefined, 1, 2][Math.floor(option / 3) % 3],
      pool: "default",
      attempts: 3,
      rejected: 0,
      problems: [],
      eventsMax: 1_000_000,
    });
  },
  feed: (side) => side.feeding.step(BATCH_ID),
  cancelBatch: (side) => side.batches.cancel(BATCH_ID, "me"),
  retryFailed: (side, { option }) => side.batches.retryFailed(BATCH_ID, CAUSES[option % 3]?.code),
  removeListed: (side, operation) => side.batches.removeListed(vmIdOf(operation)),
  listedVm: (side, operation) => side.batches.listedVm(vmIdOf(operation)),
  recount: (side) => side.feeding.recount(BATCH_ID),
  batchRound: (side) => side.batchUpkeep.round(),
  readBatch: (side) => side.batches.get(BATCH_ID),
  batchItems: (side, { option }) =>
    side.batches.items(BATCH_ID, {
      limit: 1 + (option % 3),
      cursor: option % 2 === 0 ? undefined : "1",
      results: true,
    }),
  check: withLaunch((host, launch) => host.ownership.check(liveOf(host.hostId, launch))),
  claim: withLaunch((host, launch, side) => {
    launch.token = newToken(side, host);
    return host.ownership.claim(identityOf(host.hostId, launch));
  }),
  reassert: withLaunch((host, launch) => host.ownership.reassert(liveOf(host.hostId, launch))),
  snapshot: withLaunch(async (host, launch) => {
    launch.snapshot = await host.ownership.snapshot(launch.job.vmId);
    return launch.snapshot;
  }),
  note: withLaunch((host, launch, _side, { option }) =>
    host.ownership.note(option % 2 === 0 ? { vmId: launch.job.vmId, token: launch.token } : { vmId: launch.job.vmId }, {
      type: "vm.adopted",
      data: { host: host.hostId, epoch: launch.job.epoch, port: null, pid: 1 },
    }),
  ),
  extendLocks: withLaunch((host, launch) => host.claims.extendLocks([identityOf(host.hostId, launch)])),
  unknown: (side, operation) => {
    const { claims, tokenPrefix } = hostOf(side, operation);
    return claims.unknown(tokenPrefix, ({ vmId }) => operation.option % 2 === 0 && vmId === vmIdOf(operation));
  },
  nextDelayed: async (side, operation) => typeof (await hostOf(side, operation).claims.nextDelayedAtMs("default")),
  take: (side, operation) => {
    const host = hostOf(side, operation);
    const stateId = operation.option % 4 === 0 ? "state-stranger" : host.stateId;
    return side.registry.take({ ...description(host), stateId }, 3_600_000).then(({ kind }) => kind);
  },
  renew: (side, operation) =>
    side.registry.renew(description(hostOf(side, operation)), 3_600_000).then(({ kind }) => kind),
  withdraw: (side, operation) => side.registry.withdraw(description(hostOf(side, operation))),
  goAway: (side, operation) => side.registry.goAway(description(hostOf(side, operation)), 3_600_000),
  awayIsOver: (side, operation) => side.redis.hdel(side.keys.host(hostOf(side, operation).hostId), "awayUntilMs"),
  leaseLapses: (side, operation) => side.redis.del(side.keys.lease(hostOf(side, operation).hostId)),
  hosts: async (side) => (await side.registry.hosts()).map(({ hostId, lease }) => [hostId, lease?.stateId]),
  lookForHeld: async (side) => {
    side.seen = await side.lostVms.look(await side.lostVms.held());
    return side.seen;
  },
  reap: async (side, { option }) => {
    const outcomes: string[] = [];
    if (option % 3 > 0) side.seen = await side.lostVms.look(await side.lostVms.held());
    for (const vm of side.seen)
      outcomes.push(await side.lostVms.reap(vm, { cause: CAUSE, endProved: option % 2 === 0 }));
    return outcomes;
  },
  forget: async (side, { option }) => {
    const outcomes: string[] = [];
    if (option % 3 > 0) side.seen = await side.lostVms.look(await side.lostVms.held());
    for (const vm of side.seen) outcomes.push(await side.lostVms.forget(vm, { cause: CAUSE }));
    return outcomes;
  },
  forgetHost: (side, operation) => side.registry.remove(hostOf(side, operation).hostId),
  purge: (side) => side.upkeep.purgeExpired(10),
  overdue: async (side) => (await side.upkeep.dueDeadlines(10)).map(({ vmId, reason }) => vmId + reason).sort(),
  pendingJobs: async (side) => [...(await side.upkeep.pendingJobs({ ageMs: 0, count: 10 }))].sort(),
  generation: (side) => side.generation.check(),
  console: withLaunch((_host, launch, side, { option }) =>
    side.console.append({
      vmId: launch.job.vmId,
      token: launch.token,
      data: Buffer.from("text"),
      skippedBytes: option % 2,
    }),
  ),
  listPorts: async (side, operation) =>
    [...(await hostOf(side, operation).ports.list())].sort((a, b) => a.port - b.port),
  takePort: withLaunch((host, launch) =>
    host.ports.take({ vmId: launch.job.vmId, epoch: launch.job.epoch, token: launch.token }),
  ),
  loseRecord: (side, operation) => side.redis.del(side.keys.record(vmIdOf(operation))),
  loseJob: (side, operation) => side.redis.del(side.keys.bull(poolQueueName("default"), vmIdOf(operation))),
  loseActive: (side) => side.redis.del(side.keys.bull(poolQueueName("default"), "active")),
} satisfies Record<string, Carry>;

type OperationName = keyof typeof OPERATIONS;

/** What the operation gives, or how it failed. */
export async function carryOut(side: StoreSide, operation: Operation): Promise<unknown> {
  try {
    return { gives: await (OPERATIONS[operation.name] as Carry)(side, operation) };
  } catch (error) {
    return { fails: error instanceof Error ? `${error.name}: ${error.message.slice(0, 80)}` : error };
  }
}

const anyOperation: fc.Arbitrary<Operation> = fc.record({
  name: fc.constantFrom(...(Object.keys(OPERATIONS) as OperationName[])),
  vm: fc.nat(VM_IDS.length - 1),
  host: fc.nat(HOST_IDS.length - 1),
  option: fc.nat(59),
});

/** The usual life of a VM, which most operations need a part of; of one that comes with a batch as well. */
const LIFE: readonly OperationName[] = ["take", "fetch", "prepare", "snapshot", "starting", "running"];
const LIVES: readonly (readonly OperationName[])[] = [
  ["accept", "enqueue", ...LIFE],
  ["batch", "feed", ...LIFE],
];

const lived: fc.Arbitrary<readonly Operation[]> = fc
  .tuple(anyOperation, fc.constantFrom(...LIVES), fc.integer({ min: 0, max: LIFE.length + 2 }))
  .map(([operation, life, steps]) => life.slice(0, steps).map((name) => ({ ...operation, name })));

export const operationLists: fc.Arbitrary<readonly Operation[]> = fc
  .tuple(
    lived,
    lived,
    fc.array(
      fc.oneof(
        anyOperation.map((one) => [one]),
        lived,
      ),
      { maxLength: 16, size: "max" },
    ),
  )
  .map(([first, second, rest]) => [...first, ...second, ...rest.flat()]);
