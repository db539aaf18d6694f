import type { Logger } from "pino";
import type { Clock } from "../runtime/clock.ts";

export interface RepeatOptions {
  readonly what: string;
  readonly intervalMs: number;
  readonly step: () => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Does a step again and again, `intervalMs` after the end of the last time, until stopped. A step that fails is logged
 * and comes again; it never ends the worker.
 */
export class Repeat {
  readonly #stopping = new AbortController();
  readonly #loop: Promise<void>;

  constructor(options: RepeatOptions) {
    this.#loop = this.#run(options);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  async #run({ what, intervalMs, step, clock, logger }: RepeatOptions): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await clock.pause(intervalMs, signal).catch(() => undefined); // aborted: the loop ends
      if (signal.aborted) return;
      await step().catch((error) => logger.warn({ err: error }, `${what} failed; it comes again`));
    }
  }
}
