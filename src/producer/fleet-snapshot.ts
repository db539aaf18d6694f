import type { HostRegistry, KnownHost } from "../queue/host-registry.ts";

/** What hosts say of themselves is as old as a renewal in any case. */
const KEPT_MS = 1_000;

/** All hosts as of a moment ago, read once for all who ask meanwhile: an answer about a VM costs Redis next to nothing. */
export class FleetSnapshot {
  readonly #hosts: Pick<HostRegistry, "hosts">;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #last: Promise<readonly KnownHost[]> | undefined;

  constructor(hosts: Pick<HostRegistry, "hosts">) {
    this.#hosts = hosts;
  }

  /** Rejects when Redis cannot be asked; the next call asks again. */
  get(): Promise<readonly KnownHost[]> {
    const nowMs = performance.now();
    if (this.#last !== undefined && nowMs - this.#readAtMs < KEPT_MS) return this.#last;
    const reading = this.#hosts.hosts();
    this.#last = reading;
    this.#readAtMs = nowMs;
    reading.catch(() => {
      if (this.#last === reading) this.#last = undefined;
    });
    return reading;
  }
}
