import { z } from "zod";
import { FINAL_STATES } from "../contract/vm-state.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { RedisClient } from "./connection.ts";
import { FailureBackfill } from "./failure-backfill.ts";
import { loadScript } from "./lua-script.ts";
import { PoolNames } from "./pool-names.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";
import type { RemovalRequest } from "./vm-store.ts";

const purgeScript = loadScript("purge-17");

/** What sweepers read and clear: jobs that were never added, deadlines that passed, records whose time is over. */
export class VmUpkeep {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  readonly #keep: Config["keep"];
  readonly #poolNames: PoolNames;
  readonly #backfill: FailureBackfill;

  constructor({ redis, keys, keep }: { redis: RedisClient; keys: RedisKeys; keep: Config["keep"] }) {
    this.#redis = redis;
    this.#keys = keys;
    this.#keep = keep;
    this.#poolNames = new PoolNames({ redis, keys });
    this.#backfill = new FailureBackfill({ redis, keys });
  }

  /** Deletes the records whose time is over, at most `count`, and queues that this has emptied; gives the number deleted. */
  async purgeExpired(count: number): Promise<number> {
    const keys = this.#keys;
    const due = await this.#redis.zrangebyscore(keys.expiry, "-inf", Date.now(), "LIMIT", 0, count);
    let purged = 0;
    const pools = new Set<string>();
    for (const vmId of due) {
      const [owner, pool] = await this.#redis.hmget(keys.record(vmId), "owner", "pool");
      const queue = poolQueueName(pool ?? "");
      if (pool != null) pools.add(pool);
      const reply = await purgeScript.run(
        this.#redis,
        [
          keys.record(vmId),
          keys.statePrefix,
          keys.allVms,
          keys.ownedVms(owner ?? ""),
          keys.tail(vmId),
          keys.console(vmId),
          keys.box(vmId),
          keys.mark(vmId),
          keys.expiry,
          keys.bull(queue, vmId),
          keys.bull(queue, "completed"),
          keys.bull(queue, "failed"),
          keys.bull(queue, "prioritized"),
          keys.bull(queue, "delayed"),
          keys.bull(queue, "wait"),
          keys.bull(queue, "active"),
          keys.bull(queue, "paused"),
        ],
        { vmId, final: FINAL_STATES, marksMs: this.#keep.marksMs, idempotencyMs: this.#keep.idempotencyMs },
      );
      purged += z.number().parse(reply);
    }
    for (const pool of pools) await this.#poolNames.retire(pool);
    return purged;
  }

  /** Puts failed VMs into their groups that a version without groups has failed; looks at `count` of them. */
  async groupFailures(count: number): Promise<number> {
    return this.#backfill.step(count, performance.now());
  }

  /** VMs whose queue timeout or TTL has passed, with the reason of their removal. */
  async dueDeadlines(count: number): Promise<readonly Pick<RemovalRequest, "vmId" | "reason">[]> {
    const due = await this.#redis.zrangebyscore(this.#keys.deadlines, "-inf", Date.now(), "LIMIT", 0, count);
    return due.map((member) => ({ vmId: member.slice(2), reason: member.startsWith("q:") ? "queue_timeout" : "ttl" }));
  }

  async forgetDeadline({ vmId, reason }: Pick<RemovalRequest, "vmId" | "reason">): Promise<void> {
    await this.#redis.zrem(this.#keys.deadlines, `${reason === "queue_timeout" ? "q" : "t"}:${vmId}`);
  }

  /** Accepted VMs that may have no job yet because whoever accepted them died: older than `ageMs`. */
  async pendingJobs({ ageMs, count }: { ageMs: number; count: number }): Promise<readonly string[]> {
    return this.#redis.zrangebyscore(this.#keys.pendingJobs, "-inf", Date.now() - ageMs, "LIMIT", 0, count);
  }

  async jobAdded(vmId: string): Promise<void> {
    await this.#redis.zrem(this.#keys.pendingJobs, vmId);
  }
}
