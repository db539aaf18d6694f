import type { Logger } from "pino";
import { DroverError } from "../contract/errors.ts";
import type { WishInForce } from "../contract/host-wish.ts";
import type { HostDescription } from "../queue/host-description.ts";
import type { HostRegistry, LeaseHolder, TakeOutcome } from "../queue/host-registry.ts";
import { within } from "../runtime/bounded-wait.ts";
import type { Clock } from "../runtime/clock.ts";

/** A lease that shrinks is watched this often. */
const WATCH_MS = 1_000;
/** Longer than the rest of a lease nobody waits for it to lapse. */
const WATCH_GRACE_MS = 2_000;
/** How long a stop waits for Redis; the lease lapses by itself in any case. */
const LEAVE_MAX_MS = 2_000;
/** So much of the lease is not relied on: clocks of two machines do not run at one speed, and decisions take time. */
const MARGIN_SHARE = 6;

export interface LeaseKeeperOptions {
  readonly hosts: Pick<HostRegistry, "take" | "renew" | "withdraw" | "goAway">;
  readonly description: HostDescription;
  readonly ttlMs: number;
  readonly renewMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RenewalHooks {
  readonly isTurning: () => boolean;
  /** Read right before a renewal is sent: what the lease is counted from. */
  readonly stamp?: (() => number) | undefined;
  /** Called after every success, with the stamp of its sending. */
  readonly onRenewed?: ((stamp: number) => void) | undefined;
  /** Called with what an operator wants of the host, at every success; undefined: nobody has said anything. */
  readonly onWish?: ((wish: WishInForce | undefined) => void) | undefined;
}

/**
 * Holds the lease of this host id: takes it, renews it while the worker's loop really turns, gives it back. What the
 * host says of itself goes with every renewal.
 */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #stopping = new AbortController();
  #description: HostDescription;
  /** Monotonic ms up to which the lease is surely there; a renewal counts from when it was sent. */
  #validUntil: number;
  #wake = new AbortController();
  #loop: Promise<void> | undefined;
  #isTurning = true;
  #isLost = false;
  #hasLeft = false;
  /** What an operator wanted of the host when the lease was taken. */
  readonly firstWish: WishInForce | undefined;

  private constructor(options: LeaseKeeperOptions, sentAt: number, wish: WishInForce | undefined) {
    this.#options = options;
    this.#description = options.description;
    this.#validUntil = this.#validFrom(sentAt);
    this.firstWish = wish;
  }

  /**
   * Takes the lease. When another worker has it and does not renew it (the machine was restarted, or the state directory
   * of a dead worker wiped), waits until it lapses. Throws `config_invalid` when the other one lives; rejects with the
   * signal's reason.
   */
  static async take(options: LeaseKeeperOptions & { readonly signal?: AbortSignal }): Promise<LeaseKeeper> {
    const { hosts, description, ttlMs, clock, logger, signal } = options;
    let seen: { by: LeaseHolder; leftMs: number; at: number } | undefined;
    let giveUpAt = Number.POSITIVE_INFINITY;
    for (;;) {
      signal?.throwIfAborted();
      const at = clock.monotonicMs();
      const outcome = await hosts.take(description, ttlMs);
      if (outcome.kind === "taken") return new LeaseKeeper(options, at, outcome.wish);
      const { by, leftMs } = outcome;
      if (seen === undefined) {
        giveUpAt = at + Math.max(ttlMs, leftMs) + WATCH_GRACE_MS;
        logger.warn(
          { host: description.hostId, leftMs },
          "another worker had this host id; waiting for its lease to lapse",
        );
      } else if (!isSame(by, seen.by) || leftMs > seen.leftMs - (at - seen.at) / 2 || at > giveUpAt) {
        throw heldByAnother(description, by);
      }
      seen = { by, leftMs, at };
      await clock.pause(Math.min(WATCH_MS, leftMs + 1), signal);
    }
  }

  /** What is published of this host now. */
  get description(): HostDescription {
    return this.#description;
  }

  /**
   * Begins to renew. `isTurning` says whether the worker's loop really turns: while it does not, the lease is left to
   * lapse.
   */
  start(hooks: RenewalHooks): void {
    this.#loop ??= this.#run(hooks);
  }

  /** Whether nobody else can have this host id now, whatever Redis would say. Without it nothing is fetched. */
  isSurelyValid(): boolean {
    return !this.#isLost && !this.#stopping.signal.aborted && this.#options.clock.monotonicMs() < this.#validUntil;
  }

  /** Changes what is published of this host, at once if it can be. */
  describe(change: Partial<HostDescription>): void {
    this.#description = { ...this.#description, ...change };
    this.renewSoon();
  }

  /** A renewal follows at once: there is something to hear, or to say. */
  renewSoon(): void {
    this.#wake.abort();
  }

  /** Whether the lease was given up, or that was tried. */
  get hasLeft(): boolean {
    return this.#hasLeft;
  }

  /** Ends the renewals and leaves the lease to itself. */
  async stop(): Promise<void> {
    this.#end();
    await within(this.#loop ?? Promise.resolve(), LEAVE_MAX_MS);
  }

  /**
   * Ends the renewals and gives the lease up; with VMs left behind, `awayMs` is how long they are not to be touched.
   * False when Redis could not be told in time (the lease lapses by itself then), or the lease is another's.
   */
  async leave(awayMs: number): Promise<boolean> {
    const { hosts, logger } = this.#options;
    this.#hasLeft = true;
    this.#end();
    // After a renewal that is under way: both go over one connection, in this order.
    const told = awayMs > 0 ? hosts.goAway(this.#description, awayMs) : hosts.withdraw(this.#description);
    try {
      return (await within(told, LEAVE_MAX_MS)) === true;
    } catch (error) {
      logger.warn({ err: error }, "the lease could not be given up; it lapses by itself");
      return false;
    }
  }

  async #run({ isTurning, stamp = () => 0, onRenewed, onWish }: RenewalHooks): Promise<void> {
    const { clock, renewMs, logger } = this.#options;
    const { signal } = this.#stopping;
    let dueAt = clock.monotonicMs() + renewMs;
    while (!signal.aborted) {
      await this.#untilDue(dueAt);
      if (signal.aborted) return;
      dueAt = clock.monotonicMs() + renewMs;
      if (!this.#noteTurning(isTurning())) continue;
      try {
        const sentAt = stamp();
        const outcome = await this.#renew();
        if (outcome.kind !== "taken") continue;
        onRenewed?.(sentAt);
        onWish?.(outcome.wish);
      } catch (error) {
        logger.warn({ err: error }, "renewing the lease failed; it is tried again");
      }
    }
  }

  async #renew(): Promise<TakeOutcome> {
    const { hosts, clock, ttlMs, logger } = this.#options;
    const sentAt = clock.monotonicMs();
    const outcome = await hosts.renew(this.#description, ttlMs);
    const host = this.#description.hostId;
    if (outcome.kind === "held") {
      if (!this.#isLost) logger.error({ host, by: outcome.by }, "another worker has taken this host id meanwhile");
      this.#isLost = true;
      return outcome;
    }
    if (this.#isLost) logger.info({ host }, "this host id is this worker's again");
    this.#isLost = false;
    this.#validUntil = Math.max(this.#validUntil, this.#validFrom(sentAt));
    return outcome;
  }

  /** Says it once when the loop stops turning, and once when it turns again. */
  #noteTurning(isTurning: boolean): boolean {
    const { logger } = this.#options;
    if (this.#isTurning && !isTurning)
      logger.warn("the worker does not get on with its work: the lease is not renewed");
    if (!this.#isTurning && isTurning) logger.info("the worker gets on with its work again");
    this.#isTurning = isTurning;
    return isTurning;
  }

  /** Also ends when the description changed, or the keeper is stopped. */
  async #untilDue(dueAt: number): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#wake;
    await clock.pause(Math.max(0, dueAt - clock.monotonicMs()), signal).catch(() => undefined); // woken: that is all
    if (signal.aborted) this.#wake = new AbortController();
  }

  #end(): void {
    this.#stopping.abort();
    this.#wake.abort();
  }

  #validFrom(sentAt: number): number {
    const { ttlMs } = this.#options;
    return sentAt + ttlMs - ttlMs / MARGIN_SHARE;
  }
}

function isSame(a: LeaseHolder, b: LeaseHolder): boolean {
  return a.stateId === b.stateId && a.bootId === b.bootId;
}

function heldByAnother({ hostId, stateId }: HostDescription, by: LeaseHolder): DroverError {
  const who =
    by.stateId === stateId
      ? "a worker on another machine, with a copy of this state directory,"
      : "another worker, with another state directory or on another machine,";
  return new DroverError(
    "config_invalid",
    `host id "${hostId}" is in use: ${who} has it and is alive. ` +
      "Stop that one, or give this worker a MANAGER_INSTANCE_ID of its own (and a DROVER_STATE_DIR that no other machine uses).",
  );
}
