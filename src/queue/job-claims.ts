import { Job, UnrecoverableError } from "bullmq";
import type { Logger } from "pino";
import { z } from "zod";
import { VmJobData } from "../contract/job-data.ts";
import type { RedisClient } from "./connection.ts";
import { PoolWorkers } from "./pool-workers.ts";
import { frontOfClass } from "./priority-scale.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";
import { type SettledJob, settledJob } from "./settled-job.ts";

/** Longer than any VM should be without a worker; every reconcile extends it. setTimeout bounds it to 2^31 ms. */
export const LOCK_MS = 24 * 24 * 3600 * 1000;
/** A fetch holds its caller up for this long at most: longer than a half-open connection takes to be found. */
const FETCH_WAIT_MAX_MS = 12_000;

/** A job that this host has fetched and must settle: complete, fail, or give back. */
export interface ClaimedJob {
  readonly vmId: string;
  readonly pool: string;
  readonly token: string;
  /** `attemptsStarted`: the epoch of this launch. Never reset. */
  readonly epoch: number;
  /** When its job was made (Unix ms, by the clock of who made it). */
  readonly addedAtMs?: number;
  /** The job's data, or why it cannot be read. A newer version's data is not ours to judge: give it back. */
  readonly data:
    | { readonly ok: true; readonly value: VmJobData }
    | { readonly ok: false; readonly problem: string; readonly newer: boolean };
}

/** Carries the delay that drover decided, and what the dashboard shows in place of a stack trace. */
class LaunchFailed extends Error {
  readonly delayMs: number;
  constructor(message: string, delayMs: number, story: string) {
    super(message);
    this.name = "LaunchFailed";
    this.delayMs = delayMs;
    this.stack = story;
  }
}

class LaunchFailedForGood extends UnrecoverableError {
  constructor(message: string, story: string) {
    super(message);
    this.stack = story;
  }
}

interface FetchWaiter {
  readonly resolve: (job: ClaimedJob | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export interface JobClaimsOptions {
  readonly redis: RedisClient;
  readonly keys: RedisKeys;
  readonly hostId: string;
  readonly logger: Logger;
  /** Gets a job whose fetch was answered when nobody waited for it any more: it is ours and must go back. */
  readonly onLate?: (job: ClaimedJob) => void;
  /** For tests. */
  readonly fetchWaitMaxMs?: number;
}

/**
 * The worker's side of BullMQ: one processor-less Worker per pool. Fetching is manual, under a token of ours, without
 * blocking; settling never fetches the next job (BullMQ #1297). Stalled checks are off: they would run a live VM again.
 */
export class JobClaims {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  readonly #logger: Logger;
  readonly #workers: PoolWorkers;
  /** Jobs as they were fetched, until they are settled; those of a predecessor are read from Redis. */
  readonly #fetched = new Map<string, Job>();

  readonly #onLate: (job: ClaimedJob) => void;
  readonly #fetchWaitMaxMs: number;
  /** Whether Redis has yet to answer a fetch: there is never a second one beside it. */
  #fetching = false;
  #waiter: FetchWaiter | undefined;

  constructor(options: JobClaimsOptions) {
    this.#redis = options.redis;
    this.#keys = options.keys;
    this.#logger = options.logger;
    this.#workers = new PoolWorkers({
      ...options,
      lockMs: LOCK_MS,
      backoffMs: (error) => (error instanceof LaunchFailed ? error.delayMs : 0),
      isInUse: (pool) => [...this.#fetched.values()].some((job) => job.queueName === poolQueueName(pool)),
    });
    this.#onLate = options.onLate ?? (() => undefined);
    this.#fetchWaitMaxMs = options.fetchWaitMaxMs ?? FETCH_WAIT_MAX_MS;
  }

  /**
   * Fetches the next job of a pool without waiting for one. `token` must be on disk before the job's VM is launched.
   *
   * Throws when Redis does not answer in time. The command is still on its way then (ioredis sends it again after a
   * reconnect) and may make a job ours later: the next call waits for that answer instead of fetching beside it, and
   * gives that job, which is of the earlier call's pool and token. If nobody waits when it comes, `onLate` gets it.
   */
  async fetch(pool: string, token: string): Promise<ClaimedJob | undefined> {
    if (this.#waiter !== undefined) throw new Error("only one fetch at a time");
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiter = undefined;
        reject(new Error(`Redis has not answered a fetch within ${this.#fetchWaitMaxMs} ms`));
      }, this.#fetchWaitMaxMs);
      const settle = (action: () => void) => {
        clearTimeout(timer);
        this.#waiter = undefined;
        action();
      };
      this.#waiter = {
        resolve: (job) => settle(() => resolve(job)),
        reject: (error) => settle(() => reject(error)),
      };
      if (!this.#fetching) void this.#beginFetch(pool, token);
    });
  }

  async #beginFetch(pool: string, token: string): Promise<void> {
    this.#fetching = true;
    try {
      const job = await this.#workers.of(pool).getNextJob(token, { block: false });
      this.#fetching = false;
      const claimed = job?.id === undefined ? undefined : this.#claimed(pool, token, job.id, job);
      if (this.#waiter !== undefined) this.#waiter.resolve(claimed);
      else if (claimed !== undefined) this.#onLate(claimed);
    } catch (error) {
      this.#fetching = false;
      if (this.#waiter !== undefined) this.#waiter.reject(error);
      else this.#logger.debug({ err: error, pool }, "a fetch that nobody waited for any more failed");
    }
  }

  #claimed(pool: string, token: string, vmId: string, job: Job): ClaimedJob {
    this.#fetched.set(keyOf({ vmId, token }), job);
    const { attemptsStarted: epoch, timestamp: addedAtMs } = job;
    return { vmId, pool, token, epoch, addedAtMs, data: readJobData(job.data) };
  }

  /**
   * Jobs that are active under a token of ours (`tokenPrefix`) and are not among the known: whoever fetched them is no
   * more, or never got Redis's answer.
   */
  async unknown(
    tokenPrefix: string,
    isKnown: (job: { vmId: string; token: string }) => boolean,
  ): Promise<ClaimedJob[]> {
    const found: ClaimedJob[] = [];
    // A Redis that has lost its data knows no pools, and may have one of our fetches all the same.
    for (const pool of new Set([...(await this.#redis.smembers(this.#keys.pools)), ...this.#workers.pools])) {
      const key = (part: string) => this.#keys.bull(poolQueueName(pool), part);
      const vmIds = await this.#redis.lrange(key("active"), 0, -1);
      if (vmIds.length === 0) continue;
      const tokens = await this.#redis.mget(vmIds.map((vmId) => key(`${vmId}:lock`)));
      for (const [index, vmId] of vmIds.entries()) {
        const token = tokens[index] ?? "";
        if (!token.startsWith(tokenPrefix) || isKnown({ vmId, token })) continue;
        const job = await Job.fromId(this.#workers.of(pool), vmId);
        if (job !== undefined)
          found.push({ vmId, pool, token, epoch: job.attemptsStarted, data: readJobData(job.data) });
      }
    }
    return found;
  }

  /** How a VM's job stands: whatever the record says, this is how its last launch was settled. */
  async settledAs(pool: string, vmId: string): Promise<SettledJob> {
    return settledJob(await Job.fromId(this.#workers.of(pool), vmId));
  }

  /** When the earliest delayed job of a pool becomes due (Unix ms), or undefined. */
  async nextDelayedAtMs(pool: string): Promise<number | undefined> {
    const [, score] = await this.#redis.zrange(this.#keys.bull(poolQueueName(pool), "delayed"), "0", "0", "WITHSCORES");
    return score === undefined ? undefined : Math.floor(Number(score) / 0x1000); // BullMQ keeps the low bits for order
  }

  async complete(claim: SettleTarget, returnValue: unknown): Promise<void> {
    await this.#settle(claim, (job) => job.moveToCompleted(returnValue, claim.token, false));
  }

  /** This launch failed: an attempt is used, and the next one comes after `delayMs`. */
  async fail(claim: SettleTarget, failure: { message: string; story: string; delayMs: number }): Promise<void> {
    const error = new LaunchFailed(failure.message, failure.delayMs, failure.story);
    await this.#settle(claim, (job) => job.moveToFailed(error, claim.token, false));
  }

  /** The VM has failed for good. */
  async failForGood(claim: SettleTarget, failure: { message: string; story: string }): Promise<void> {
    const error = new LaunchFailedForGood(failure.message, failure.story);
    await this.#settle(claim, (job) => job.moveToFailed(error, claim.token, false));
  }

  /** Gives the job back without using an attempt. Never by moveToWait: that puts it at the head, a hot loop. */
  async giveBack(claim: SettleTarget, delayMs: number): Promise<void> {
    await this.#settle(claim, async (job) => {
      // It has had its turn; PREPARE sees to this as well, but not every job gets there.
      const front = frontOfClass(job.priority);
      if (job.priority !== front) await job.changePriority({ priority: front });
      await job.moveToDelayed(Date.now() + delayMs, claim.token);
    });
  }

  /** Keeps the locks of live VMs from lapsing. */
  async extendLocks(claims: readonly SettleTarget[]): Promise<void> {
    for (const pool of new Set(claims.map((claim) => claim.pool))) {
      const ofPool = claims.filter((claim) => claim.pool === pool);
      await this.#workers.of(pool).extendJobLocks(
        ofPool.map((claim) => claim.vmId),
        ofPool.map((claim) => claim.token),
        LOCK_MS,
      );
    }
  }

  async close(): Promise<void> {
    await this.#workers.close();
  }

  /**
   * BullMQ decides about retries from what is in memory; nobody else settles a job that is ours, so that what was fetched
   * is still true. When the lock is not ours any
   * more, a lost reply may have settled the job already: the record is the truth, so that this is said and not thrown.
   */
  async #settle(claim: SettleTarget, settle: (job: Job) => Promise<unknown>): Promise<void> {
    const job = this.#fetched.get(keyOf(claim)) ?? (await Job.fromId(this.#workers.of(claim.pool), claim.vmId));
    if (job === undefined) {
      this.#logger.warn({ vmId: claim.vmId }, "the job of an ended VM is gone from the queue");
      return;
    }
    try {
      await settle(job);
      this.#fetched.delete(keyOf(claim));
    } catch (error) {
      const code = z.object({ code: z.number() }).safeParse(error);
      if (!code.success || code.data.code > -1) throw error;
      this.#fetched.delete(keyOf(claim));
      const state = await job.getState();
      this.#logger.warn({ vmId: claim.vmId, jobState: state, err: error }, "the job was settled by somebody else");
    }
  }
}

/** A fetch whose reply was lost leaves two jobs under one token, so that the token alone names none. */
function keyOf({ vmId, token }: { vmId: string; token: string }): string {
  return `${vmId} ${token}`;
}

export type SettleTarget = Pick<ClaimedJob, "vmId" | "pool" | "token">;

function readJobData(data: unknown): ClaimedJob["data"] {
  const parsed = VmJobData.safeParse(data);
  if (parsed.success) return { ok: true, value: parsed.data };
  const version = z.object({ v: z.number() }).safeParse(data);
  return { ok: false, problem: z.prettifyError(parsed.error), newer: version.success && version.data.v > 1 };
}
