import { FINAL_STATES, isFinal, VM_STATES, type VmState, WAITING_STATES } from "../../src/contract/vm-state.ts";
import type { RedisClient } from "../../src/queue/connection.ts";
import { poolQueueName, type RedisKeys } from "../../src/queue/redis-keys.ts";
import { batchProblems } from "./batch-index.ts";
import { failureProblems } from "./failure-index.ts";

/** The fields of a record that say what else there must be. */
export interface RecordFacts {
  readonly vmId: string;
  readonly state: VmState;
  readonly epoch: number;
  readonly port: number | undefined;
  readonly pool: string;
  readonly hasSecrets: boolean;
  readonly seq: number;
}

export function holdsResources({ state }: RecordFacts): boolean {
  return !isFinal(state) && !(WAITING_STATES as readonly VmState[]).includes(state);
}

export async function readFacts(redis: RedisClient, keys: RedisKeys): Promise<RecordFacts[]> {
  const vmIds = await redis.zrange(keys.allVms, "0", "-1");
  return Promise.all(
    vmIds.map(async (vmId) => {
      const fields = await redis.hgetall(keys.record(vmId));
      return {
        vmId,
        state: fields["state"] as VmState, // what the scripts write
        epoch: Number(fields["epoch"]),
        port: fields["port"] === undefined ? undefined : Number(fields["port"]),
        pool: fields["pool"] ?? "",
        hasSecrets: fields["hasSecrets"] === "1",
        seq: Number(fields["seq"]),
      };
    }),
  );
}

/** What of Redis does not fit to the records: keys that should be gone, sets and queues that say something else. */
export async function redisProblems(
  redis: RedisClient,
  keys: RedisKeys,
  records: readonly RecordFacts[],
): Promise<string[]> {
  return [
    ...(await keyProblems(redis, keys, records)),
    ...(await indexProblems(redis, keys, records)),
    ...(await queueProblems(redis, keys, records)),
    ...(await eventProblems(redis, keys, records)),
    ...(await batchProblems(redis, keys, records)),
    ...(await failureProblems(
      redis,
      keys,
      records.map(({ vmId }) => vmId),
    )),
  ];
}

/** Keys that outlive every VM, or say nothing of a single one. */
const LASTING =
  /^(events|vms|vms:[^:]+|state:[a-z]+|state:failed:.+|pending-jobs|deadlines|expiry|fairness:.+|ports(-lru|-aside)?:.+|host:.+|lease:.+|pools|hosts|generation|mark:.+|idempotency:.+|(open-|ended-)?batches(:.+)?|due-batches(:sealed)?|batch:[^:]+(:(items|boxes|states|ends|pace))?|batch-gone:.+|vm(-remove)?\.[^:]+:(meta|id|events|marker|pc|completed|failed|delayed|prioritized|active|wait|stalled-check|metrics.*))$/;

async function keyProblems(redis: RedisClient, keys: RedisKeys, records: readonly RecordFacts[]): Promise<string[]> {
  const byId = new Map(records.map((record) => [record.vmId, record]));
  const names = await redis.keys(`${keys.prefix.replace(/[[\]{}?*\\]/g, "\\$&")}:*`);
  return names.flatMap((name) => {
    const part = name.slice(keys.prefix.length + 1);
    if (LASTING.test(part)) return [];
    const [kind = "", vmId = "", suffix] = part.split(":");
    const record = byId.get(vmId);
    if (record === undefined) return [`key ${part} belongs to no VM`];
    const live = holdsResources(record);
    const expected =
      kind === "record" ||
      kind === "tail" ||
      (kind === "console" && live) ||
      (kind === "box" && record.hasSecrets && (!isFinal(record.state) || record.state === "failed")) ||
      (kind === poolQueueName(record.pool) && (suffix === undefined || (suffix === "lock" && live)));
    return expected ? [] : [`key ${part} is left of a VM that is ${record.state}`];
  });
}

async function indexProblems(redis: RedisClient, keys: RedisKeys, records: readonly RecordFacts[]): Promise<string[]> {
  const problems: string[] = [];
  for (const record of records) {
    const states = new Set(
      records
        .map(({ state }) => state)
        .concat(FINAL_STATES, WAITING_STATES, "preparing", "starting", "running", "ready", "stopping"),
    );
    for (const state of states) {
      const listed = (await redis.zscore(keys.stateVms(state), record.vmId)) !== null;
      if (listed !== (state === record.state))
        problems.push(`${record.vmId} is ${record.state}, and ${listed ? "" : "not "}listed as ${state}`);
    }
    const due = (await redis.zscore(keys.expiry, record.vmId)) !== null;
    if (due !== isFinal(record.state))
      problems.push(`${record.vmId} is ${record.state}, and ${due ? "" : "not "}to be purged`);
  }
  const finals = new Set(records.filter(({ state }) => isFinal(state)).map(({ vmId }) => vmId));
  for (const deadline of await redis.zrange(keys.deadlines, "0", "-1"))
    if (finals.has(deadline.slice(2))) problems.push(`deadline ${deadline} is left of a VM that has ended`);
  for (const vmId of await redis.zrange(keys.pendingJobs, "0", "-1"))
    problems.push(`${vmId} waits for its job to be added`);
  return problems;
}

async function queueProblems(redis: RedisClient, keys: RedisKeys, records: readonly RecordFacts[]): Promise<string[]> {
  const problems: string[] = [];
  for (const pool of new Set(records.map((record) => record.pool))) {
    const key = (part: string) => keys.bull(poolQueueName(pool), part);
    const places: Record<string, readonly string[]> = {
      active: await redis.lrange(key("active"), "0", "-1"),
      waiting: [
        ...(await redis.zrange(key("prioritized"), "0", "-1")),
        ...(await redis.zrange(key("delayed"), "0", "-1")),
        ...(await redis.lrange(key("wait"), "0", "-1")),
      ],
      completed: await redis.zrange(key("completed"), "0", "-1"),
      failed: await redis.zrange(key("failed"), "0", "-1"),
    };
    for (const record of records.filter((one) => one.pool === pool)) {
      const found = Object.keys(places).filter((place) => places[place]?.includes(record.vmId));
      const wanted = placeOf(record);
      if (found.join() !== wanted)
        problems.push(`the job of ${record.vmId} (${record.state}) is ${found.join(" and ") || "gone"}, not ${wanted}`);
    }
  }
  return problems;
}

function placeOf(record: RecordFacts): string {
  if (record.state === "failed") return "failed";
  if (isFinal(record.state)) return "completed";
  return holdsResources(record) ? "active" : "waiting";
}

/** Numbers without holes, and a last event that says what the record says. */
async function eventProblems(redis: RedisClient, keys: RedisKeys, records: readonly RecordFacts[]): Promise<string[]> {
  const entries = await redis.xrange(keys.events, "-", "+");
  const byVm = new Map<string, { seq: number; type: string }[]>();
  for (const [, flat] of entries) {
    const field = (name: string) => flat[flat.indexOf(name) + 1] ?? "";
    const vmId = field("vm");
    byVm.set(vmId, [...(byVm.get(vmId) ?? []), { seq: Number(field("seq")), type: field("type") }]);
  }
  return records.flatMap(({ vmId, seq, state }) => {
    const events = byVm.get(vmId) ?? [];
    const numbers = events.map((event) => event.seq);
    const problems: string[] = [];
    if (numbers.some((number, index) => number !== index + 1) || numbers.length !== seq)
      problems.push(`the events of ${vmId} are numbered ${numbers.join()}, its record counts ${seq}`);
    const states = events
      .map(({ type }) => (type === "vm.reasserted" ? state : type.slice("vm.".length))) // that one does not say which
      .filter((name) => (VM_STATES as readonly string[]).includes(name)); // the others move nothing
    if (states.at(-1) !== state) problems.push(`the last event of ${vmId} is ${states.at(-1)}, its state ${state}`);
    return problems;
  });
}
