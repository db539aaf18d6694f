import type { Logger } from "pino";
import { isEvacuating, isWantedOpen, type WishInForce } from "../contract/host-wish.ts";
import type { HostDescription } from "../queue/host-description.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Launch } from "./launch.ts";
import type { Stores } from "./stores.ts";
import type { VmRuns } from "./vm-runs.ts";

/** What a worker says of itself before anybody has wished anything. */
export const UNWISHED = { kind: "open", atMs: 0, held: 0 } as const satisfies HostDescription["wish"];

export interface WishKeeperDeps {
  readonly hostId: string;
  /** What stood in Redis when the lease was taken. */
  readonly first: WishInForce | undefined;
  readonly runs: Pick<VmRuns, "size" | "stayingPools" | "releaseWhere" | "wake">;
  readonly hosts: Stores["hosts"];
  /** Tells the others what this worker has heard, and how far it is. */
  readonly publish: (wish: NonNullable<HostDescription["wish"]>) => void;
  /** Writes a wish down again that Redis has lost. */
  readonly retell: (wish: WishInForce) => Promise<unknown>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * What an operator wants of this host, as its worker has heard it, and what the worker does for it. While Redis is away
 * the last word that came stands.
 */
export class WishKeeper {
  readonly #deps: WishKeeperDeps;
  #wish: WishInForce | undefined;
  /** VMs that stay because no other live host could take them. */
  #held = 0;

  constructor(deps: WishKeeperDeps) {
    this.#deps = deps;
    this.#wish = deps.first;
    if (deps.first !== undefined) this.#say();
  }

  /** Whether the host may take new VMs. */
  get isOpen(): boolean {
    return isWantedOpen(this.#wish);
  }

  /** Takes in what stands in Redis now. That nothing stands there any more is no word of an operator: Redis lost it. */
  heed(wish: WishInForce | undefined): void {
    if (wish?.kind === this.#wish?.kind && wish?.atMs === this.#wish?.atMs) return;
    const { hostId, runs, retell, logger } = this.#deps;
    if (wish === undefined) {
      if (this.#wish !== undefined)
        retell(this.#wish).catch((error) =>
          logger.warn({ err: error }, "a wish that Redis lost could not be told again"),
        );
      return;
    }
    const { kind, by, note } = wish;
    logger.info(
      { host: hostId, wish: kind, by, note, vms: runs.size },
      "an operator wants something else of this host",
    );
    this.#wish = wish;
    this.#held = 0;
    this.#say();
    runs.wake();
  }

  /** Carries on with an evacuation: stops the VMs that another live host can take. To be called again and again. */
  async step(): Promise<void> {
    const { runs, clock, logger } = this.#deps;
    const wish = this.#wish;
    if (wish === undefined || !isEvacuating(wish, clock.nowMs())) return;
    const pools = runs.stayingPools;
    const takers = new Map(await Promise.all(pools.map(async (pool) => [pool, await this.#takersOf(pool)] as const)));
    if (this.#wish !== wish) return; // wished otherwise while Redis was asked
    const nowMs = clock.nowMs();
    const held = runs.releaseWhere(({ identity, avoid }) =>
      (takers.get(identity.pool) ?? []).some((hostId) => (avoid[hostId] ?? 0) <= nowMs),
    );
    if (held === this.#held) return;
    this.#held = held;
    if (held > 0) logger.warn({ held }, "VMs stay on this host: no other live host could take them");
    this.#say();
  }

  /** Live hosts that take VMs of a pool, other than this one. */
  async #takersOf(pool: Launch["identity"]["pool"]): Promise<readonly string[]> {
    const live = await this.#deps.hosts.liveHosts(pool);
    return live.flatMap(({ hostId, wish }) => (hostId !== this.#deps.hostId && isWantedOpen(wish) ? [hostId] : []));
  }

  #say(): void {
    const { kind, atMs } = this.#wish ?? UNWISHED;
    this.#deps.publish({ kind, atMs, held: this.#held });
  }
}
