/**
 * Closes what it owns, last first; one failure does not spare the others. `await using scope = new Scope()`.
 * (Node 20 has no AsyncDisposableStack.)
 */
export class Scope implements AsyncDisposable {
  readonly #closers: Array<() => unknown> = [];

  /** Takes `thing` over and hands it back, so that making and owning are one line. */
  own<T>(thing: T, close: (thing: T) => unknown): T {
    this.#closers.push(() => close(thing));
    return thing;
  }

  /** Closes everything. A second call finds nothing left to close. */
  async close(): Promise<void> {
    const errors: unknown[] = [];
    for (const close of this.#closers.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, "closing failed");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
