import { setImmediate as nextTurn } from "node:timers/promises";

/** How long one upload keeps this process to itself: far below what another client would feel. */
const TURN_MAX_MS = 2;

/** Lets others have their turn in a long row of small work that is done at once, each piece for itself. */
export class Turns {
  #sinceMs = performance.now();

  /** Whether it is somebody else's turn. */
  get isOver(): boolean {
    return performance.now() - this.#sinceMs >= TURN_MAX_MS;
  }

  /** Resolves when everybody else had a turn. */
  async next(): Promise<void> {
    await nextTurn();
    this.#sinceMs = performance.now();
  }
}
