import { DroverError } from "../contract/errors.ts";
import type { Principal } from "./principal.ts";

/** Of all seats one caller may take so many at most, so that others find one. */
const SHARE_MAX = 1 / 4;

/** Counts open answers of one kind; one more than the house holds, or than one caller may take, is refused. */
export class Seats {
  readonly #what: string;
  readonly #max: number;
  readonly #maxEach: number;
  readonly #takenBy = new Map<string, number>();
  #taken = 0;

  constructor(what: string, max: number) {
    this.#what = what;
    this.#max = max;
    this.#maxEach = Math.ceil(max * SHARE_MAX);
  }

  /** How many are taken now. */
  get taken(): number {
    return this.#taken;
  }

  /**
   * Takes a seat; the returned thing gives it back. The share counts for whom it is told of but the local operator.
   * Throws `too_many_requests`.
   */
  take(holder?: Pick<Principal, "owner" | "via">): Disposable {
    const owner = holder === undefined || holder.via === "local" ? "" : holder.owner;
    const own = this.#takenBy.get(owner) ?? 0;
    if (this.#taken >= this.#max) throw full(`${this.#max} clients have ${this.#what} open already`);
    if (owner !== "" && own >= this.#maxEach) throw full(`${owner} has ${this.#what} open ${own} times already`);
    this.#taken++;
    this.#takenBy.set(owner, own + 1);
    let isMine = true;
    return {
      [Symbol.dispose]: () => {
        if (!isMine) return;
        isMine = false;
        this.#giveBack(owner);
      },
    };
  }

  #giveBack(owner: string): void {
    this.#taken--;
    const left = (this.#takenBy.get(owner) ?? 1) - 1;
    if (left === 0) this.#takenBy.delete(owner);
    else this.#takenBy.set(owner, left);
  }
}

function full(why: string): DroverError {
  return new DroverError("too_many_requests", `${why}; close one, or try again later`);
}
