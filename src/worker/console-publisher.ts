import type { Logger } from "pino";
import { LIVE_CONSOLE_MAX_BYTES } from "../contract/limits.ts";
import type { LiveConsole } from "../queue/live-console.ts";

/** A flooding guest costs Redis one bounded write in this time, not one for each line. */
const INTERVAL_MS = 300;

/**
 * Brings a VM's console to Redis, a bounded piece at a time. Only one write is under way; what comes meanwhile is
 * gathered, and of that only the end that the window can hold is kept.
 */
export class ConsolePublisher {
  readonly #console: Pick<LiveConsole, "append">;
  readonly #vm: { readonly vmId: string; readonly token: string };
  readonly #logger: Logger;
  #gathered: Buffer = Buffer.alloc(0);
  #skippedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: { console: Pick<LiveConsole, "append">; vmId: string; token: string; logger: Logger }) {
    this.#console = options.console;
    this.#vm = { vmId: options.vmId, token: options.token };
    this.#logger = options.logger;
  }

  push(data: Buffer, skippedBytes: number): void {
    if (this.#closed || (data.length === 0 && skippedBytes === 0)) return;
    if (skippedBytes > 0) {
      this.#skippedBytes += this.#gathered.length + skippedBytes;
      this.#gathered = Buffer.alloc(0);
    }
    const all = Buffer.concat([this.#gathered, data]);
    const kept = all.subarray(Math.max(0, all.length - LIVE_CONSOLE_MAX_BYTES));
    this.#skippedBytes += all.length - kept.length;
    this.#gathered = Buffer.from(kept);
    this.#timer ??= setTimeout(() => void this.#publish(), INTERVAL_MS);
  }

  /** No write follows; the end of the console reaches Redis with the VM's final record. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #publish(): Promise<void> {
    const data = this.#gathered;
    const skippedBytes = this.#skippedBytes;
    this.#gathered = Buffer.alloc(0);
    this.#skippedBytes = 0;
    try {
      if (data.length > 0) await this.#console.append({ ...this.#vm, data, skippedBytes });
    } catch (error) {
      // The console is for looking at: losing a piece of it must not end the VM. The file on the host has it still.
      this.#logger.debug({ err: error, vmId: this.#vm.vmId }, "a piece of the console did not reach Redis");
    } finally {
      this.#timer = undefined;
      if (this.#gathered.length > 0 && !this.#closed) this.#timer = setTimeout(() => void this.#publish(), INTERVAL_MS);
    }
  }
}
