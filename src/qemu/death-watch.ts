import { isAlive, type ProcessIdentity } from "../runtime/process-identity.ts";
import type { ExitFacts } from "./qemu-process.ts";

const STEADY_POLL_MS = 500;
const HURRIED_POLL_MS = 10;
const HURRIED_FOR_MS = 2_000;

/**
 * Sees the end of a process that is not our child: nobody gives us its exit code, only the process table shows it.
 * One look is a read of a few bytes from /proc; `hurry()` makes the next looks quick, for when its monitor has closed.
 */
export class DeathWatch {
  /** Settles once the process is dead; never when the watch was stopped before. */
  readonly dead: Promise<ExitFacts>;
  readonly #identity: ProcessIdentity;
  #report: (facts: ExitFacts) => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #hurriedUntilMs = 0;
  #over = false;

  constructor(identity: ProcessIdentity) {
    this.#identity = identity;
    this.dead = new Promise((resolve) => {
      this.#report = resolve;
    });
    this.#look();
  }

  hurry(): void {
    this.#hurriedUntilMs = performance.now() + HURRIED_FOR_MS;
    this.#look();
  }

  stop(): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  #look(): void {
    clearTimeout(this.#timer);
    if (this.#over) return;
    if (!isAlive(this.#identity)) {
      this.stop();
      this.#report({ exitCode: null, signal: null });
      return;
    }
    const hurried = performance.now() < this.#hurriedUntilMs;
    this.#timer = setTimeout(() => this.#look(), hurried ? HURRIED_POLL_MS : STEADY_POLL_MS);
  }
}
