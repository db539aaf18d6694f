import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import type { RedisKeys } from "./redis-keys.ts";

const noteScript = loadScript("note-failure-2");

/** Between two rounds through all failed VMs. A worker of an older version may have failed some meanwhile. */
const ROUND_PAUSE_MS = 10 * 60_000;

/**
 * Finds failed VMs that are in no group of failures, because a version without groups has failed them, and puts them into
 * theirs. Goes through all failed VMs in small steps.
 */
export class FailureBackfill {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  /** Rank of the next one to look at; undefined between two rounds. */
  #next: number | undefined = 0;
  #nextRoundMs = 0;

  constructor({ redis, keys }: { redis: RedisClient; keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Looks at the next `count`; gives the number of those that were put into a group. `nowMs` never goes back. */
  async step(count: number, nowMs: number): Promise<number> {
    if (this.#next === undefined && nowMs < this.#nextRoundMs) return 0;
    const from = this.#next ?? 0;
    const vmIds = await this.#redis.zrange(this.#keys.stateVms("failed"), `${from}`, `${from + count - 1}`);
    const isLast = vmIds.length < count;
    this.#next = isLast ? undefined : from + count;
    if (isLast) this.#nextRoundMs = nowMs + ROUND_PAUSE_MS;
    const { record, statePrefix } = this.#keys;
    let noted = 0;
    for (const vmId of await this.#withoutGroup(vmIds))
      if ((await noteScript.run(this.#redis, [record(vmId), statePrefix], { vmId })) === 1) noted += 1;
    return noted;
  }

  async #withoutGroup(vmIds: readonly string[]): Promise<readonly string[]> {
    if (vmIds.length === 0) return [];
    const pipeline = this.#redis.pipeline();
    for (const vmId of vmIds) pipeline.hmget(this.#keys.record(vmId), "failureGroup", "dismissed", "removal");
    const replies = (await pipeline.exec()) ?? [];
    return vmIds.filter((_vmId, index) => {
      const [error, fields] = replies[index] ?? [];
      if (error != null) throw error;
      return Array.isArray(fields) && fields.every((field) => field === null);
    });
  }
}
