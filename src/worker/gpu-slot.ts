import { pciName } from "../qemu/host-detection.ts";
import type { Clock } from "../runtime/clock.ts";

/** After somebody else than drover was found to use the GPU, no VM gets it for this long. */
const ASIDE_MS = 60_000;

/** The GPU that a host gives to one VM at a time; who of them has it, stands in their launches. */
export class GpuSlot {
  readonly #bdf: string | false;
  readonly #clock: Clock;
  #asideUntilMs = 0;

  constructor(options: { readonly bdf: string | false; readonly clock: Clock }) {
    this.#bdf = options.bdf;
    this.#clock = options.clock;
  }

  /** The PCI address, or false: the host has none, it is set aside, or one of the VMs holds it. */
  freeFor(holders: readonly { readonly gpu: string | false }[]): string | false {
    if (this.#clock.monotonicMs() < this.#asideUntilMs) return false;
    const bdf = this.#bdf;
    if (bdf === false) return false;
    return holders.some(({ gpu }) => gpu !== false && pciName(gpu) === pciName(bdf)) ? false : bdf;
  }

  /** Somebody else uses it: it is given to nobody for a minute, so that other VMs run without it meanwhile. */
  setAside(): void {
    this.#asideUntilMs = this.#clock.monotonicMs() + ASIDE_MS;
  }
}
