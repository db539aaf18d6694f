import type { Logger } from "pino";
import { isAlive, isStopped } from "../../runtime/process-identity.ts";
import type { GuardProcess } from "./guard-identity.ts";
import { type GuardOrder, guardFiles, makeGuardDirectory, readOrder, writeOrder } from "./guard-order.ts";
import { MachineEnder } from "./machine-ender.ts";
import { endGuards, ensureGuard, type GuardPlace } from "./start-guard.ts";
import { uptimeMs } from "./uptime.ts";

/** However long the patience of others: enough to kill and to free the memory of large guests. */
const MARGIN_MAX_MS = 30_000;
const MARGIN_PART = 4;

export interface GuardLinkOptions extends GuardPlace {
  readonly bootId: string;
  readonly logger: Logger;
}

/**
 * How long before others may launch this host's VMs the guard begins to end them. In this time fall: the guard's timer
 * and scan (tens of ms), the note (0.2 s at most), SIGTERM (0.3 s), SIGKILL, and the kernel's freeing of the guests'
 * memory, which takes a second for some ten GiB. 30 s are ample on a loaded host; a quarter of a short patience is
 * what tests with small machines need (750 ms of 3 s).
 */
export function guardMarginMs(afterMs: number): number {
  return Math.min(MARGIN_MAX_MS, afterMs / MARGIN_PART);
}

/**
 * The worker's hold on its guard. As long as the deadline is refreshed in time, the guard does nothing; once one was
 * missed, all VMs of this host are ended, by the guard, or here if the guard did not come to it. A guard that is killed
 * while the worker lives is replaced; nobody replaces one that is killed while the worker is dead, too.
 */
export class GuardLink {
  readonly #options: GuardLinkOptions;
  #guard: GuardProcess;
  #deadlineMs: number | undefined;
  /** Set when the worker leaves: what comes later from its loops counts no more. */
  #isLeaving = false;
  #writing: Promise<unknown> = Promise.resolve();
  #respawning: Promise<void> | undefined;

  private constructor(options: GuardLinkOptions, guard: GuardProcess, deadlineMs: number | undefined) {
    this.#options = options;
    this.#guard = guard;
    this.#deadlineMs = deadlineMs;
  }

  /**
   * Makes sure that a guard of this version runs and answers; one that runs already is kept, with the deadline that a
   * predecessor gave it. Throws DroverError `internal_error`.
   */
  static async open(options: GuardLinkOptions): Promise<GuardLink> {
    const guard = await ensureGuard(options);
    return new GuardLink(options, guard, await deadlineBefore(options));
  }

  /**
   * For a worker that wants no guard: the one of a predecessor with another policy, if there is one, is told to go.
   * Throws the system's own errors.
   */
  static async dismissAny({ stateDir, stateId, bootId }: Omit<GuardLinkOptions, "logger">): Promise<void> {
    const before = await readOrder(stateDir).catch(() => null); // damaged: written anew
    if (before !== undefined) {
      await makeGuardDirectory(stateDir);
      await writeOrder(stateDir, { stateId, bootId, deadlineUptimeMs: null });
    }
    await endGuards(stateId);
  }

  /**
   * The VMs may run until `inMs` after `sinceUptimeMs`, the moment (of `uptimeMs`) at which what gives them the right
   * was asked for: of a lease, before its renewal was sent. The deadline never goes back by it; the order of calls is
   * the order of deadlines. A guard that was killed is started anew, without waiting for it.
   *
   * `late`: the deadline before had passed by the time the new one stood. Then the VMs that lived at that time have
   * been ended, as others may have launched them since; the worker should compare everything with the queue.
   * Throws the system's own errors when the deadline could not be written: then the old one stays in force.
   */
  async refresh(inMs: number, sinceUptimeMs = uptimeMs()): Promise<{ readonly late: boolean }> {
    return this.#inOrder(async () => {
      if (this.#isLeaving) return { late: false };
      if (!this.isAlive()) this.#respawn();
      const wished = Math.round(sinceUptimeMs + inMs);
      const before = this.#deadlineMs ?? wished;
      // An answer that came back late proves less than one that we have had already; a predecessor's patience, which
      // may be longer than ours, is not ours.
      const isOvertaken = before > wished && before - uptimeMs() <= inMs;
      return { late: await this.#setDeadline(isOvertaken ? before : wished) };
    });
  }

  /** For a worker that leaves its VMs running on purpose: they may until then. Later refreshes count no more. */
  async keepUntil(inMs: number, sinceUptimeMs = uptimeMs()): Promise<void> {
    await this.#inOrder(async () => {
      this.#isLeaving = true;
      await this.#setDeadline(Math.round(sinceUptimeMs + inMs));
    });
  }

  /** For a worker that leaves no VM behind: ends the guard. Later refreshes count no more. */
  async dismiss(): Promise<void> {
    await this.#inOrder(async () => {
      this.#isLeaving = true;
      await this.#respawning;
      await writeOrder(this.#options.stateDir, this.#order(null));
      await endGuards(this.#options.stateId);
    });
  }

  /** Whether the guard is a process that can act. Reads one file of /proc. */
  isAlive(): boolean {
    return isAlive(this.#guard) && !isStopped(this.#guard);
  }

  /** Ms until the guard ends the VMs; infinite before the first deadline. Nothing may be launched at 0 or less. */
  leftMs(): number {
    return this.#deadlineMs === undefined ? Number.POSITIVE_INFINITY : this.#deadlineMs - uptimeMs();
  }

  /** Returns true when the deadline before was missed; then no VM of before is left. */
  async #setDeadline(deadlineMs: number): Promise<boolean> {
    const before = this.#deadlineMs;
    await writeOrder(this.#options.stateDir, this.#order(deadlineMs));
    this.#deadlineMs = deadlineMs;
    // Looked at afterwards: a guard that reads the file in this moment must come to the same end as we.
    if (before === undefined || uptimeMs() < before) return false;
    await this.#endAll(before);
    return true;
  }

  async #endAll(missedMs: number): Promise<void> {
    const { stateDir, logger } = this.#options;
    logger.error(
      { missedByMs: uptimeMs() - missedMs, log: guardFiles(stateDir).log },
      "this host was silent for so long that others may have launched its VMs: those that still ran here are ended",
    );
    const ender = new MachineEnder(stateDir, (line) => logger.warn(line));
    ender.sweep(missedMs);
    await ender.settled();
  }

  #respawn(): void {
    const { logger } = this.#options;
    logger.warn("the guard of this host is dead or stopped; it is started anew");
    this.#respawning ??= ensureGuard(this.#options)
      .then((guard) => {
        this.#guard = guard;
      })
      .catch((error: unknown) => logger.error({ err: error }, "there is no guard; it is tried again"))
      .finally(() => {
        this.#respawning = undefined;
      });
  }

  #order(deadlineUptimeMs: number | null): GuardOrder {
    const { bootId, stateId } = this.#options;
    return { bootId, stateId, deadlineUptimeMs };
  }

  #inOrder<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#writing.then(step);
    this.#writing = done.catch(() => undefined);
    return done;
  }
}

/** The deadline that a predecessor of this boot left. A damaged file says nothing; the guard has read what was before. */
async function deadlineBefore({ stateDir, stateId, bootId }: GuardLinkOptions): Promise<number | undefined> {
  const order = await readOrder(stateDir).catch(() => undefined);
  return order?.stateId === stateId && order.bootId === bootId ? (order.deadlineUptimeMs ?? undefined) : undefined;
}
