import { DroverError } from "../contract/errors.ts";

/** Counts open answers of one kind; one more than the house holds is refused. */
export class Seats {
  readonly #what: string;
  readonly #max: number;
  #taken = 0;

  constructor(what: string, max: number) {
    this.#what = what;
    this.#max = max;
  }

  /** Takes a seat; the returned thing gives it back. Throws `too_many_requests`. */
  take(): Disposable {
    if (this.#taken >= this.#max) {
      throw new DroverError(
        "too_many_requests",
        `${this.#max} clients have ${this.#what} open already; close one, or try again later`,
      );
    }
    this.#taken++;
    let mine = 1;
    return {
      [Symbol.dispose]: () => {
        this.#taken -= mine;
        mine = 0;
      },
    };
  }
}
