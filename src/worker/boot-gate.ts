/** How many others may boot beside one: all that fit, or none. */
type Company = "others" | "alone";

interface Waiter {
  readonly company: Company;
  readonly proceed: () => void;
}

/**
 * Bounds how many guests boot at once: on a loaded host more of them only make all of them slower. A VM in whose launches
 * workers have died boots alone, so that the next death names the one that brings it.
 */
export class BootGate {
  readonly #places: number;
  readonly #waiting: Waiter[] = [];
  #taken = 0;
  #isExclusive = false;

  constructor(places: number) {
    this.#places = places;
  }

  /** Waits for a place and gives the function that leaves it (harmless when called again). Rejects when aborted. */
  async enter(signal: AbortSignal, company: Company = "others"): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#waiting.length > 0 || !this.#hasPlace(company)) await this.#turn(signal, company);
    else this.#take(company);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#taken -= 1;
      this.#isExclusive = false;
      this.#letIn();
    };
  }

  #hasPlace(company: Company): boolean {
    return company === "alone" ? this.#taken === 0 : this.#taken < this.#places && !this.#isExclusive;
  }

  #take(company: Company): void {
    this.#taken += 1;
    this.#isExclusive = company === "alone";
  }

  /** In order of arrival: a VM that boots alone is not passed by others for ever. */
  #letIn(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#hasPlace(next.company); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#take(next.company);
      next.proceed();
    }
  }

  #turn(signal: AbortSignal, company: Company): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        this.#letIn(); // whoever stood behind it may fit now
        reject(signal.reason);
      };
      const waiter: Waiter = {
        company,
        proceed: () => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      this.#waiting.push(waiter);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }
}
