import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";

/**
 * Does a step again and again, `intervalMs` after the end of the last time, until stopped. A step that fails is logged
 * and comes again; it never ends the worker.
 */
export class Repeat {
  readonly #stopping = new AbortController();
  readonly #loop: Promise<void>;

  constructor(options: { what: string; intervalMs: number; step: () => Promise<void>; logger: Logger }) {
    this.#loop = this.#run(options);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  async #run({
    what,
    intervalMs,
    step,
    logger,
  }: {
    what: string;
    intervalMs: number;
    step: () => Promise<void>;
    logger: Logger;
  }): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await delay(intervalMs, undefined, { signal }).catch(() => undefined); // aborted: the loop ends
      if (signal.aborted) return;
      await step().catch((error) => logger.warn({ err: error }, `${what} failed; it comes again`));
    }
  }
}
