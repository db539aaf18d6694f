/** Bounds how many guests boot at once: on a loaded host more of them only make all of them slower. */
export class BootGate {
  readonly #places: number;
  readonly #waiting: Array<() => void> = [];
  #taken = 0;

  constructor(places: number) {
    this.#places = places;
  }

  /** Waits for a place and gives the function that leaves it (harmless when called again). Rejects when aborted. */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#taken >= this.#places) await this.#turn(signal);
    this.#taken += 1;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#taken -= 1;
      this.#waiting.shift()?.();
    };
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(proceed), 1);
        reject(signal.reason);
      };
      const proceed = () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      this.#waiting.push(proceed);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }
}
