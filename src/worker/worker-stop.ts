import type { Logger } from "pino";
import { TIME_UP, waitUntil, within } from "../runtime/bounded-wait.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { Scope } from "../runtime/scope.ts";
import type { FailPoints } from "./fail-points.ts";
import type { FetchLoop } from "./fetch-loop.ts";
import type { GuardKeeper } from "./guard-keeper.ts";
import type { LaunchFiles } from "./launch-files.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import { leaveHost } from "./stay-alive.ts";
import type { VmRuns } from "./vm-runs.ts";

/** Launches that are under way may come to run in this time; what has not by then goes back to the queue. */
const LAUNCHES_MAX_MS = 3_000;
const LET_GO_MAX_MS = 2_000;
/** A stop that touches no VM stays below 10 s, with the connections closed. */
const LEAVE_MAX_MS = 7_000;
/** Whoever waits for a Redis that is away gives up within this time of being closed. */
const CLOSE_MAX_MS = 2_500;
/** How long a stop that ends VMs waits for Redis after them: the next start finishes from the disk. */
const STOP_GRACE_MS = 10_000;

/**
 * What becomes of the VMs when the worker stops.
 *
 * - `keep`: they run on; the next worker of this host takes them over.
 * - `drain`: nothing is fetched any more, and the worker waits for them to end.
 * - `stop`: they are stopped and go back to the queue, no attempt used.
 */
export type StopMode = "keep" | "drain" | "stop";

export interface StartedWorker {
  readonly hostId: string;
  /**
   * Stops the worker and gives how many VMs it has left on the host. A later call with another mode takes over: a drain
   * can be cut short.
   */
  stop(mode?: StopMode): Promise<{ readonly left: number }>;
}

export interface WorkerStopDeps {
  readonly hostId: string;
  readonly config: Config;
  readonly loop: FetchLoop;
  readonly runs: VmRuns;
  readonly lease: LeaseKeeper;
  readonly guard: GuardKeeper;
  readonly files: LaunchFiles;
  readonly clock: Clock;
  readonly failPoints: FailPoints;
  /** Aborted when the VMs are left to the next worker. */
  readonly leaving: AbortController;
  /** Aborted when what is not finished is left to the next worker. */
  readonly giveUp: AbortController;
  readonly logger: Logger;
  /** Ends the loops that are left. */
  readonly closeRest: () => Promise<void>;
  readonly scope: Scope;
}

/** A worker that runs, and its ways to stop. */
export class WorkerStop implements StartedWorker {
  readonly #deps: WorkerStopDeps;
  readonly #hurry = new AbortController();
  #mode: StopMode | undefined;
  #stopped: Promise<{ readonly left: number }> | undefined;

  constructor(deps: WorkerStopDeps) {
    this.#deps = deps;
  }

  get hostId(): string {
    return this.#deps.hostId;
  }

  stop(mode: StopMode = "keep"): Promise<{ readonly left: number }> {
    if (this.#mode === "drain" && mode !== "drain") {
      this.#mode = mode;
      this.#hurry.abort();
    }
    this.#mode ??= mode;
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<{ readonly left: number }> {
    const { loop, runs, logger } = this.#deps;
    logger.info({ running: runs.size, vms: this.#mode }, "worker stopping");
    if (this.#mode === "drain") {
      await loop.stop();
      const { signal } = this.#hurry;
      const hurried = new Promise<void>((resolve) => {
        if (signal.aborted)
          resolve(); // while the loop stopped
        else signal.addEventListener("abort", () => resolve(), { once: true });
      });
      await Promise.race([runs.allDone(), hurried]);
    }
    const { powerdownMs, quitMs, termMs } = this.#deps.config.stop;
    const isKept = this.#mode === "keep";
    const boundMs = isKept ? LEAVE_MAX_MS : (runs.size === 0 ? 0 : powerdownMs + quitMs + termMs) + STOP_GRACE_MS;
    await this.#bounded(isKept ? this.#leaveVms() : this.#endVms(), boundMs);
    return { left: await this.#countLeft() };
  }

  /** VMs run on. Launches that are half way are given a moment, and are undone if it is not enough. */
  async #leaveVms(): Promise<void> {
    const { loop, runs, leaving, giveUp, failPoints } = this.#deps;
    await loop.stop();
    failPoints.release();
    await waitUntil(() => runs.launching === 0, { timeoutMs: LAUNCHES_MAX_MS, intervalMs: 20 });
    runs.releaseLaunching();
    leaving.abort();
    await within(runs.allDone(), LET_GO_MAX_MS);
    giveUp.abort();
    await within(runs.allDone(), LET_GO_MAX_MS / 2);
    await this.#goAway();
  }

  async #endVms(): Promise<void> {
    const { loop, runs } = this.#deps;
    await loop.stop();
    await runs.releaseAll();
    await this.#goAway();
  }

  /** The others are told whether VMs are left here, and the guard whether it is still needed. */
  async #goAway(): Promise<void> {
    const { lease, guard, config, closeRest, scope, logger } = this.#deps;
    const left = await this.#countLeft();
    await leaveHost({ lease, guard, left, awayMaxMs: config.hostLost.awayMaxMs, logger });
    logger.info(
      { left },
      left === 0 ? "worker stopped" : "worker stopped; its VMs run on until a worker takes them over",
    );
    try {
      await closeRest();
    } finally {
      await scope.close();
    }
  }

  /** The VMs that have something on the host. Where the disk cannot be read there may be some. */
  async #countLeft(): Promise<number> {
    const { files, runs, logger } = this.#deps;
    try {
      return (await files.list()).length;
    } catch (error) {
      logger.error({ err: error }, "the state directory cannot be read; the others are told that VMs are left here");
      return Math.max(1, runs.size);
    }
  }

  /** A stop must not hang on a Redis that is away: what is left undone is on disk and the next start finishes it. */
  async #bounded(stop: Promise<void>, boundMs: number): Promise<void> {
    const { giveUp, leaving, scope, logger } = this.#deps;
    if ((await within(stop, boundMs)) !== TIME_UP) return;
    logger.error({ boundMs }, "the worker could not stop cleanly in time; its next start finishes what is on disk");
    stop.catch(() => undefined); // its connections are closed now
    leaving.abort();
    giveUp.abort();
    await within(scope.close(), CLOSE_MAX_MS);
  }
}
