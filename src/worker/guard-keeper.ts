import type { Logger } from "pino";
import type { Config } from "../runtime/config-shape.ts";
import { GuardLink, guardMarginMs } from "./guard/guard-link.ts";
import { uptimeMs } from "./guard/uptime.ts";
import type { HostState } from "./host-state.ts";

/**
 * Keeps the guard's deadline ahead as the host's policy says: under `rerun` others may launch this host's VMs once it
 * was silent for long enough, so that the guard must have ended them before. Under `hold` there is no guard.
 */
export class GuardKeeper {
  readonly #link: GuardLink | undefined;
  readonly #policy: Config["hostLost"];
  readonly #renewMs: number;
  readonly #onLate: () => void;
  readonly #logger: Logger;

  private constructor(link: GuardLink | undefined, options: GuardKeeperOptions) {
    this.#link = link;
    this.#policy = options.policy;
    this.#renewMs = options.renewMs;
    this.#onLate = options.onLate;
    this.#logger = options.logger;
  }

  /** Makes sure that a guard runs, or that none does, and sets the first deadline. Throws what GuardLink throws. */
  static async open(options: GuardKeeperOptions): Promise<GuardKeeper> {
    const { host, policy, logger } = options;
    const place = { stateDir: host.stateDir, stateId: host.stateId, bootId: host.bootId };
    if (policy.policy === "hold") {
      await GuardLink.dismissAny(place);
      return new GuardKeeper(undefined, options);
    }
    const keeper = new GuardKeeper(await GuardLink.open({ ...place, logger }), options);
    await keeper.#refresh(uptimeMs());
    return keeper;
  }

  /** False once the deadline has passed: nothing may be launched then. */
  get isInTime(): boolean {
    return this.#link === undefined || this.#link.leftMs() > 0;
  }

  /** How long the guard leaves the VMs alone yet; undefined where there is none, or no deadline. */
  get leftMs(): number | undefined {
    const leftMs = this.#link?.leftMs();
    return leftMs === Number.POSITIVE_INFINITY ? undefined : leftMs;
  }

  /** The lease was renewed by a command that was sent at this moment of `uptimeMs`. */
  async noteRenewal(sinceUptimeMs: number): Promise<void> {
    await this.#refresh(sinceUptimeMs);
  }

  /**
   * The worker's loop turns. Counts where VMs are to run on while Redis is out of reach; no more than the renewal before,
   * from which others count, so that a worker that dies now has given its VMs no longer than they do.
   */
  async noteTurn(): Promise<void> {
    if (this.#policy.onPartition === "keep") await this.#refresh(uptimeMs() - this.#renewMs);
  }

  /** The worker goes and leaves VMs running, which nobody touches for as long as it may be away. */
  async leave(sinceUptimeMs: number): Promise<void> {
    const { awayMaxMs, afterMs } = this.#policy;
    const inMs = Math.max(awayMaxMs, afterMs);
    await this.#link?.keepUntil(inMs - guardMarginMs(inMs), sinceUptimeMs);
  }

  /** No VM is left. */
  async dismiss(): Promise<void> {
    await this.#link?.dismiss();
  }

  async #refresh(sinceUptimeMs: number): Promise<void> {
    const { afterMs } = this.#policy;
    try {
      const outcome = await this.#link?.refresh(afterMs - guardMarginMs(afterMs), sinceUptimeMs);
      if (outcome?.late === true) this.#onLate();
    } catch (error) {
      this.#logger.error({ err: error }, "the guard's deadline could not be moved; it ends the VMs when that passes");
    }
  }
}

export interface GuardKeeperOptions {
  readonly host: Pick<HostState, "stateDir" | "stateId" | "bootId">;
  readonly policy: Config["hostLost"];
  /** How often the lease is renewed. */
  readonly renewMs: number;
  readonly logger: Logger;
  /** Called when a deadline had passed: the VMs that lived then have been ended. */
  readonly onLate: () => void;
}
