/** How often QEMU is asked for a sign of life, and how long it may be silent. */
export interface HeartbeatTiming {
  readonly intervalMs: number;
  readonly silentAfterMs: number;
}

/** Six seconds: three asked-for answers that did not come. */
export const DEFAULT_HEARTBEAT: HeartbeatTiming = { intervalMs: 2_000, silentAfterMs: 6_000 };

export interface HeartbeatOptions {
  readonly timing: HeartbeatTiming;
  /** When QEMU last said anything, on the clock of `performance.now()`. */
  readonly lastHeardMs: () => number;
  /** Asks QEMU for anything; rejects when no answer comes within `timeoutMs`. */
  readonly ask: (timeoutMs: number) => Promise<unknown>;
  readonly onSilent: (silentForMs: number) => void;
  readonly onBack: () => void;
}

/**
 * Watches that QEMU still answers. Whatever it says counts, so a VM whose console is being read is not asked. Silence
 * is an observation, not an end: a hung QEMU may come back. The host's own stall (the worker did not run) does not
 * count either: silence is only reported after a question of this heartbeat has stayed open.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #timer: NodeJS.Timeout | undefined;
  #unansweredSinceMs: number | undefined;
  #isSilent = false;
  #isAsking = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  get isSilent(): boolean {
    return this.#isSilent;
  }

  /** To be called once. */
  start(): void {
    this.#timer = setInterval(() => this.#beat(), this.#options.timing.intervalMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #beat(): void {
    const { timing, lastHeardMs, onSilent, onBack } = this.#options;
    const nowMs = performance.now();
    const heardMs = lastHeardMs();
    if (nowMs - heardMs < timing.intervalMs || heardMs > (this.#unansweredSinceMs ?? Number.POSITIVE_INFINITY)) {
      this.#unansweredSinceMs = undefined;
      if (this.#isSilent) {
        this.#isSilent = false;
        onBack();
      }
      return;
    }
    this.#ask();
    const silentForMs = nowMs - (this.#unansweredSinceMs ?? nowMs);
    if (this.#isSilent || silentForMs < timing.silentAfterMs) return;
    this.#isSilent = true;
    onSilent(silentForMs);
  }

  /** One question at a time: a hung QEMU must not be sent more and more of them. */
  #ask(): void {
    this.#unansweredSinceMs ??= performance.now();
    if (this.#isAsking) return;
    this.#isAsking = true;
    this.#options
      .ask(this.#options.timing.silentAfterMs)
      .catch(() => undefined) // the silence itself is what is measured
      .finally(() => {
        this.#isAsking = false;
      });
  }
}
