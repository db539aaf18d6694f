import { canServe, type HostOffer, isBespoke, parsePlacementPool, type ServedPools } from "../contract/placement.ts";
import type { PoolNames } from "../queue/pool-names.ts";
import type { Clock } from "../runtime/clock.ts";

/** Without a bell the list of queues is read this often. */
const LOOK_MS = 5_000;
/** Queues beside those of the start that one wait listens to; of more, those are taken in which something waits. */
const WATCHED_MAX = 32;
/** Of still more, so many are asked in each round whether something waits in them. */
const ASKED_MAX = 512;

export interface PoolWatchDeps {
  readonly offer: HostOffer;
  /** Looked at always. */
  readonly base: ServedPools;
  readonly names: Pick<PoolNames, "all" | "busy">;
  readonly clock: Clock;
}

/** The queues that this host looks at: those of its start, and of the others that there are those whose needs it meets. */
export class PoolWatch {
  readonly #deps: PoolWatchDeps;
  #served: ServedPools;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #askedFrom = 0;

  constructor(deps: PoolWatchDeps) {
    this.#deps = deps;
    this.#served = deps.base;
  }

  get served(): ServedPools {
    return this.#served;
  }

  /** Somebody said that a queue has come. */
  expectNew(): void {
    this.#lookedAtMs = Number.NEGATIVE_INFINITY;
  }

  /**
   * Reads the list of queues if it is time. Gives whether there is one that was not looked at before. Throws when Redis
   * cannot be reached; the next call tries again.
   */
  async look(): Promise<boolean> {
    const { offer, base, names, clock } = this.#deps;
    if (clock.monotonicMs() - this.#lookedAtMs < LOOK_MS) return false;
    const before = new Set([...this.#served.gpu, ...this.#served.others]);
    const found = (await names.all()).filter((pool) => isBespoke(pool) && canServe(offer, pool)).sort();
    const watched = found.length <= WATCHED_MAX ? found : await this.#busyOf(found);
    this.#lookedAtMs = clock.monotonicMs();
    const asksForGpu = (pool: string) => parsePlacementPool(pool)?.gpu === true;
    this.#served = {
      gpu: [...base.gpu, ...watched.filter(asksForGpu)],
      others: [...base.others, ...watched.filter((pool) => !asksForGpu(pool))],
    };
    return watched.some((pool) => !before.has(pool));
  }

  /** Another part of them each time, so that each has its turn. */
  async #busyOf(found: readonly string[]): Promise<readonly string[]> {
    const from = this.#askedFrom % found.length;
    const inTurn = [...found.slice(from), ...found.slice(0, from)].slice(0, ASKED_MAX);
    const watched = (await this.#deps.names.busy(inTurn)).slice(0, WATCHED_MAX);
    const last = watched.at(-1) ?? inTurn.at(-1) ?? "";
    this.#askedFrom = found.indexOf(last) + 1;
    return watched;
  }
}
