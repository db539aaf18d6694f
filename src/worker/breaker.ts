import type { CauseCode } from "../contract/causes.ts";
import type { Clock } from "../runtime/clock.ts";
import { type EndPlan, isHostFault } from "./end-plan.ts";

/** So many launches in a row that this host itself spoilt, and it takes no more for a while. */
const FAILURES_MAX = 3;
const FIRST_PAUSE_MS = 5_000;
const PAUSE_MAX_MS = 5 * 60_000;

export interface BreakerState {
  readonly failures: number;
  readonly openForMs: number;
  readonly cause: CauseCode | null;
}

/**
 * Keeps a broken host from spoiling launch after launch: after three faults of its own in a row it pauses, longer each
 * time; then one launch at a time is tried, and the first that comes to run closes the breaker.
 */
export class Breaker {
  readonly #clock: Clock;
  readonly #onChanged: (state: BreakerState) => void;
  #failures = 0;
  #openUntilMs = 0;
  #cause: CauseCode | null = null;

  constructor({ clock, onChanged }: { clock: Clock; onChanged: (state: BreakerState) => void }) {
    this.#clock = clock;
    this.#onChanged = onChanged;
  }

  get state(): BreakerState {
    const openForMs = Math.max(0, this.#openUntilMs - this.#clock.monotonicMs());
    return { failures: this.#failures, openForMs, cause: this.#cause };
  }

  /** Whether a launch may be taken while `launching` others have not come to run yet. */
  allows(launching: number): boolean {
    if (this.#failures < FAILURES_MAX) return true;
    return launching === 0 && this.#clock.monotonicMs() >= this.#openUntilMs;
  }

  noteRunning(): void {
    if (this.#failures === 0) return;
    this.#failures = 0;
    this.#cause = null;
    this.#openUntilMs = 0;
    this.#onChanged(this.state);
  }

  /** Counts an end that is this host's fault. */
  noteEnd({ cause }: Pick<EndPlan, "cause">): void {
    if (cause === null || !isHostFault(cause.code)) return;
    this.#failures += 1;
    this.#cause = cause.code;
    const pauses = this.#failures - FAILURES_MAX;
    if (pauses >= 0) {
      const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** pauses, PAUSE_MAX_MS);
      this.#openUntilMs = this.#clock.monotonicMs() + pauseMs;
    }
    this.#onChanged(this.state);
  }
}

/** What the host says of its breaker to the fleet; null while it is closed and unblemished. Pure. */
export function publishedBreaker({ failures, openForMs, cause }: Breaker["state"], nowMs: number) {
  const message = `${failures} launches in a row failed by a fault of this host`;
  return failures === 0
    ? null
    : { failures, openUntilMs: nowMs + openForMs, cause: cause === null ? null : { code: cause, message } };
}
