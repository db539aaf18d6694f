import type { Logger } from "pino";
import { LaunchFailure } from "../contract/causes.ts";
import type { QemuObservation } from "../qemu/supervision.ts";
import type { Clock } from "../runtime/clock.ts";
import type { LiveQemu } from "./machine.ts";

const FIRST_PAUSE_MS = 5_000;
const PAUSE_MAX_MS = 60_000;
/** Somebody may make room meanwhile; a guest that stands still for longer holds a slot for nothing. */
const PATIENCE_MS = 15 * 60_000;

/**
 * QEMU pauses a guest whose disk cannot be written because the host's is full. It is told to go on again and again, and
 * where that does not help for a quarter of an hour the launch has failed.
 */
export class StalledDisk {
  readonly #deps: { readonly clock: Clock; readonly logger: Logger; readonly vmId: string };
  #seen: () => void = () => undefined;
  #pauses = 0;

  constructor(deps: { clock: Clock; logger: Logger; vmId: string }) {
    this.#deps = deps;
  }

  /** To be told everything that is seen of the VM. */
  note(seen: QemuObservation): void {
    if (seen.kind !== "paused" || seen.status !== "io-error") return;
    this.#pauses += 1;
    this.#seen();
  }

  /** Settles with `disk_full` when the guest could not go on for too long; never otherwise. */
  async watch(qemu: Pick<LiveQemu, "resume">, over: AbortSignal): Promise<LaunchFailure> {
    const { clock, logger, vmId } = this.#deps;
    for (let known = 0; ; known = this.#pauses) {
      await this.#nextPause(known);
      const sinceMs = clock.monotonicMs();
      logger.error({ vmId }, "a guest stands still because the host's disk is full; it goes on when there is room");
      for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, PAUSE_MAX_MS)) {
        const before = this.#pauses;
        const goesOn = await qemu.resume().catch(() => false);
        await clock.pause(pauseMs, over).catch(() => undefined); // over: nobody waits for the answer
        if (over.aborted) return new Promise(() => undefined);
        if (goesOn && this.#pauses === before) break;
        if (clock.monotonicMs() - sinceMs >= PATIENCE_MS)
          return new LaunchFailure("disk_full", "the host's disk was full and the guest could not write to its own");
      }
    }
  }

  #nextPause(known: number): Promise<void> {
    if (this.#pauses > known) return Promise.resolve();
    return new Promise((resolve) => {
      this.#seen = resolve;
    });
  }
}
