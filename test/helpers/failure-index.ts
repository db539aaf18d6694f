import { VmRecord } from "../../src/contract/vm-record.ts";
import type { RedisClient } from "../../src/queue/connection.ts";
import type { RedisKeys } from "../../src/queue/redis-keys.ts";

/** What the index must hold, counted anew from the records. */
export async function recountFailures(
  redis: RedisClient,
  keys: RedisKeys,
  vmIds: readonly string[],
): Promise<Record<string, readonly string[]>> {
  const expected: Record<string, string[]> = {};
  const enter = (group: string, kind: "vms" | "sealed" | "again", { owner, vmId }: VmRecord) => {
    for (const whose of [undefined, owner]) {
      expected[keys.failureGroup(group, kind, whose)] ??= [];
      expected[keys.failureGroup(group, kind, whose)]?.push(vmId);
      if (kind !== "sealed") expected[keys.failureGroups(whose)] ??= [];
      const groups = expected[keys.failureGroups(whose)] ?? [];
      if (!groups.includes(group)) groups.push(group);
    }
  };
  for (const vmId of vmIds) {
    const fields = await redis.hgetall(keys.record(vmId));
    if (Object.keys(fields).length === 0) continue;
    const record = VmRecord.parse(fields);
    const counts = record.state === "failed" && record.removal === undefined && record.dismissed === undefined;
    const group = `${record.cause?.code}@${record.host}`;
    if (counts) enter(group, "vms", record);
    if (counts && record.hasSecrets) enter(group, "sealed", record);
    for (const again of JSON.parse(fields["retriedGroups"] ?? "[]")) enter(again, "again", record);
  }
  return sorted(expected);
}

/** What the index holds. */
export async function readFailureIndex(
  redis: RedisClient,
  keys: RedisKeys,
): Promise<Record<string, readonly string[]>> {
  const held: Record<string, string[]> = {};
  for (const name of await redis.keys(`${keys.prefix.replace(/[[\]{}?*\\]/g, "\\$&")}:state:failed:*`))
    held[name] = (await redis.type(name)) === "set" ? await redis.smembers(name) : await redis.zrange(name, "0", "-1");
  return sorted(held);
}

function sorted(sets: Record<string, string[]>): Record<string, readonly string[]> {
  return Object.fromEntries(Object.entries(sets).map(([name, members]) => [name, members.sort()]));
}

/** Where the index of failures and the records differ. */
export async function failureProblems(
  redis: RedisClient,
  keys: RedisKeys,
  vmIds: readonly string[],
): Promise<string[]> {
  const [expected, held] = [await recountFailures(redis, keys, vmIds), await readFailureIndex(redis, keys)];
  return [...new Set([...Object.keys(expected), ...Object.keys(held)])].flatMap((name) => {
    const [wanted, found] = [expected[name]?.join() ?? "", held[name]?.join() ?? ""];
    return wanted === found ? [] : [`failures ${name.slice(keys.prefix.length + 1)}: ${found}, not ${wanted}`];
  });
}
