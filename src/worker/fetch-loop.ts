import type { Logger } from "pino";
import type { ClaimedJob, JobClaims } from "../queue/job-claims.ts";
import type { PoolWaiter } from "../queue/pool-waiter.ts";
import { within } from "../runtime/bounded-wait.ts";
import type { Clock } from "../runtime/clock.ts";
import { linkSignals } from "../runtime/link-signals.ts";
import type { Mutex } from "./mutex.ts";
import type { PoolWatch } from "./pool-watch.ts";
import { HostUnfit } from "./take-job.ts";

/** A marker may be lost (another worker popped it and died): pools are looked at this often anyway. */
const WAIT_MAX_MS = 5_000;
const ERROR_PAUSE_MS = 500;
/** A full disk must not pass the whole queue through this host. */
const UNFIT_PAUSE_MS = 5_000;
const STOP_MAX_MS = 1_000;
const COMPLAIN_EVERY_MS = 10_000;
/** Nobody waits at pools whose VMs do not fit now (the GPU is held, memory is short): it is looked this often whether they do. */
const FIT_LOOK_MS = 1_000;
/** Room may also come by time alone (a lease that is valid again, a breaker that lets one try): looked at this often. */
const ROOM_LOOK_MS = 1_000;
/** No step of the loop takes longer while Redis can be reached; a loop that does not turn must not hold a lease. */
const TURN_MAX_MS = 30_000;

export interface FetchLoopDeps {
  readonly pools: Pick<PoolWatch, "served" | "look" | "expectNew">;
  readonly claims: Pick<JobClaims, "fetch" | "nextDelayedAtMs">;
  readonly waiter: Pick<PoolWaiter, "wait" | "stop">;
  readonly mutex: Mutex;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly newToken: () => string;
  /** Whether a VM may be taken now, of whatever pool: nothing is fetched only to be put back for a limit. */
  readonly hasRoom: () => boolean;
  /** Those of the pools of which any VM would fit now: only these are looked at. */
  readonly fitting: (pools: readonly string[]) => readonly string[];
  /** Resolves when `hasRoom` may have changed, or is aborted. */
  readonly roomChanged: (signal: AbortSignal) => Promise<void>;
  /** Puts the intent on disk and takes the port. Called under the mutex; the launch itself goes on in the background. */
  readonly take: (job: ClaimedJob) => Promise<void>;
  /** Called with a job that is not taken, or whose `take` threw: it is ours and must go back. */
  readonly strand: (job: ClaimedJob) => void;
}

/**
 * The one loop of a host that fetches: it waits for work outside the mutex, then, under it and with room, fetches from
 * the pools in turn until one job is fetched and its intent is on disk. VMs that ask for the GPU come first while it is
 * free: any other VM would take it from them.
 */
export class FetchLoop {
  readonly #deps: FetchLoopDeps;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #turnedAtMs = 0;
  #complainedAtMs = Number.NEGATIVE_INFINITY;
  #lastPool = "";
  /** Whether jobs may wait for their time; known to be none, Redis is not asked for the earliest. */
  #mayBeDelayed = true;

  constructor(deps: FetchLoopDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#turnedAtMs = this.#deps.clock.monotonicMs();
    this.#running ??= this.#run();
  }

  /** Whether the loop goes round: the sign of life that the host's lease stands for. One that was stopped does not hang. */
  isTurning(): boolean {
    return this.#stopping.signal.aborted || this.#deps.clock.monotonicMs() - this.#turnedAtMs < TURN_MAX_MS;
  }

  /** Returns when no fetch is under way and none will follow. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#deps.waiter.stop();
    // A wait that is queued while Redis is away never settles (ioredis): a fetch that comes later is stranded.
    await within(this.#running ?? Promise.resolve(), STOP_MAX_MS);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { hasRoom, pools, waiter, mutex, clock } = this.#deps;
    while (!signal.aborted) {
      this.#turnedAtMs = clock.monotonicMs();
      try {
        if (!hasRoom()) {
          await this.#waitForRoom(signal);
          continue;
        }
        if (await pools.look()) this.#mayBeDelayed = true;
        const fetched = await mutex.run(() => this.#fetchOne(signal));
        // A fetch has set the marker again, so that the wait after it comes back at once.
        if (signal.aborted) return;
        const open = this.#openPools();
        if (open.length === 0) {
          pools.expectNew(); // meanwhile nobody hears the bell
          await this.#waitForRoom(signal);
          continue;
        }
        const sign = await waiter.wait(open, fetched ? this.#waitMaxMs(open) : await this.#waitMs(open));
        this.#mayBeDelayed ||= sign === "delayed";
        if (sign === "bell") pools.expectNew();
      } catch (error) {
        if (signal.aborted) return;
        this.#complain(error);
        const pauseMs = error instanceof HostUnfit ? UNFIT_PAUSE_MS : ERROR_PAUSE_MS;
        await clock.pause(pauseMs, signal).catch(() => undefined); // aborted: the loop ends
      }
    }
  }

  /** An outage or a full Redis is said once in a while, not twice a second. */
  #complain(error: unknown): void {
    const { clock, logger } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#complainedAtMs < COMPLAIN_EVERY_MS) return;
    this.#complainedAtMs = nowMs;
    logger.warn({ err: error }, "fetching failed; trying again");
  }

  async #waitForRoom(signal: AbortSignal): Promise<void> {
    const { roomChanged, clock } = this.#deps;
    const looked = new AbortController();
    const both = linkSignals([signal, looked.signal]);
    const pause = clock.pause(ROOM_LOOK_MS, both.signal).catch(() => undefined); // the room came first
    await Promise.race([roomChanged(both.signal), pause]);
    looked.abort();
    both.release();
  }

  async #fetchOne(signal: AbortSignal): Promise<boolean> {
    const { claims, newToken, hasRoom, take, strand } = this.#deps;
    for (const pool of this.#openPools()) {
      if (signal.aborted || !hasRoom()) return false;
      const job = await claims.fetch(pool, newToken());
      if (job === undefined) continue;
      this.#lastPool = pool;
      // Redis may have been away meanwhile: what it gives now may be older than what runs somewhere.
      if (signal.aborted || !hasRoom()) {
        strand(job);
        return false;
      }
      try {
        await take(job);
      } catch (error) {
        if (!(error instanceof HostUnfit)) strand(job);
        throw error;
      }
      return true;
    }
    return false;
  }

  /** The pools of which the host could take any VM now, each list from behind the pool that gave the last one. */
  #openPools(): readonly string[] {
    const { pools, fitting } = this.#deps;
    const { gpu, others } = pools.served;
    const inTurn = (list: readonly string[]) => {
      const next = list.indexOf(this.#lastPool) + 1;
      return [...list.slice(next), ...list.slice(0, next)];
    };
    return fitting([...inTurn(gpu), ...inTurn(others)]);
  }

  #waitMaxMs(open: readonly string[]): number {
    const { gpu, others } = this.#deps.pools.served;
    return open.length === gpu.length + others.length ? WAIT_MAX_MS : FIT_LOOK_MS;
  }

  /** Until the earliest delayed job of these pools is due, within the bound. */
  async #waitMs(pools: readonly string[]): Promise<number> {
    const maxMs = this.#waitMaxMs(pools);
    if (!this.#mayBeDelayed) return maxMs;
    const due = await Promise.all(pools.map((pool) => this.#deps.claims.nextDelayedAtMs(pool)));
    const earliest = Math.min(...due.map((atMs) => atMs ?? Number.POSITIVE_INFINITY));
    this.#mayBeDelayed = earliest !== Number.POSITIVE_INFINITY || maxMs < WAIT_MAX_MS; // of those not asked nobody knows
    return Math.max(Math.min(maxMs, earliest - this.#deps.clock.nowMs()), 1);
  }
}
