/**
 * Why a VM is stopped before its guest ends by itself. The first reason wins.
 *
 * - `requested`, `ttl`, `queue_timeout`: a removal mark stands; the VM ends as removed or expired.
 * - `released`: the worker shuts down and was told to stop its VMs; the VM goes back to the queue, no attempt is used.
 * - `boot_timeout`: the launch took too long; it failed.
 * - `superseded`: the VM has ended elsewhere or a newer launch of it exists; nothing of this one counts any more.
 */
export type StopReason = "requested" | "ttl" | "queue_timeout" | "released" | "boot_timeout" | "superseded";

export class StopRequest {
  readonly #controller = new AbortController();
  readonly #forced = new AbortController();

  /** Aborted with the reason as soon as a stop is asked for. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get reason(): StopReason | undefined {
    return this.signal.aborted ? (this.signal.reason as StopReason) : undefined; // only `ask` aborts it
  }

  /** Aborted when the stop is to skip the polite steps; may come after the stop itself was asked for. */
  get forced(): AbortSignal {
    return this.#forced.signal;
  }

  ask(reason: StopReason, { force = false }: { force?: boolean } = {}): void {
    if (force) this.#forced.abort();
    this.#controller.abort(reason);
  }
}
