import { LaunchFailure } from "../contract/causes.ts";
import { TIME_UP, within } from "../runtime/bounded-wait.ts";
import type { ReadinessWait } from "./readiness.ts";
import type { RingChunk } from "./ring-reader.ts";

/**
 * Looks for a text in the console as it comes, also where it is cut by the edge of a chunk. Compares bytes: colours
 * and other escape sequences that the guest puts inside the text hide it.
 */
export class ConsoleWatch {
  /** Settles when the text has been seen. */
  readonly seen: Promise<void>;
  readonly #wanted: Buffer;
  #report: () => void = () => undefined;
  #end: Buffer = Buffer.alloc(0);

  constructor(text: string) {
    if (text === "") throw new TypeError("an empty text is in every console");
    this.#wanted = Buffer.from(text, "utf8");
    this.seen = new Promise((resolve) => {
      this.#report = resolve;
    });
  }

  feed({ bytes, skipped }: RingChunk): void {
    const searched = skipped ? bytes : Buffer.concat([this.#end, bytes]);
    if (searched.includes(this.#wanted)) this.#report();
    const keep = Math.min(searched.length, this.#wanted.length - 1);
    this.#end = Buffer.from(searched.subarray(searched.length - keep));
  }

  /**
   * Waits until the text has been seen. Returns how long it took, in ms.
   * Throws LaunchFailure `boot_timeout` when the time is up, and the signal's reason.
   */
  async wait({ timeoutMs, signal }: ReadinessWait): Promise<number> {
    const startedMs = performance.now();
    if ((await within(this.seen, timeoutMs, signal)) === TIME_UP) {
      throw new LaunchFailure("boot_timeout", `the console did not show the awaited text within ${timeoutMs} ms`);
    }
    return performance.now() - startedMs;
  }
}
