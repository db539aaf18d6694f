/** Runs one critical section at a time, in order of arrival. Never held across a wait for the outside world to change. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();

  async run<T>(section: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(section);
    this.#tail = turn.catch(() => undefined); // the caller sees the error; the next section runs all the same
    return turn;
  }
}
