/** A small generator of pseudo-random numbers (mulberry32): the same text gives the same numbers everywhere. */
export class Random {
  #state: number;

  constructor(seed: string) {
    let hash = 0x811c9dc5;
    for (const char of seed) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
    this.#state = hash >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Whole numbers from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  /** Gaps of a Poisson process: many short ones, few long ones, none above six times the mean. */
  gap(mean: number): number {
    return Math.min(6 * mean, -Math.log(1 - this.next()) * mean);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** One of the choices, by weight. */
  weighted<T extends string>(weights: Readonly<Record<T, number>>): T {
    const choices = Object.entries(weights) as [T, number][]; // the keys of a record are its keys
    let at = this.next() * choices.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [choice, weight] of choices) {
      at -= weight;
      if (at < 0) return choice;
    }
    const [last] = choices.at(-1) ?? [];
    if (last === undefined) throw new RangeError("nothing to choose from");
    return last;
  }

  /** Another generator for a part, so that a change in one part leaves the others as they were. */
  fork(name: string): Random {
    return new Random(`${this.#state}/${name}`);
  }
}
