import { pause } from "../runtime/bounded-wait.ts";
import type { ExecuteOptions, QmpClient } from "./qmp-client.ts";
import { QmpError } from "./qmp-error.ts";
import type { QmpArguments, QmpCommand, QmpEvent, QmpReply } from "./qmp-protocol.ts";

const REDIAL_INTERVAL_MS = 500;

export interface MonitorLinkOptions {
  readonly client: QmpClient;
  /** Connects anew, bounded by itself; called again and again while it fails. */
  readonly redial: (signal: AbortSignal) => Promise<QmpClient>;
  readonly onEvent: (event: QmpEvent) => void;
  /** The connection is gone, most likely because the process is. */
  readonly onClosed: () => void;
  /** It is gone and nobody has called `close()` since, so the process lives without a monitor. */
  readonly onLost: (error: QmpError) => void;
  /** Events may have been missed in between: the status is to be asked for. */
  readonly onBack: () => void;
}

/**
 * The connection to one QEMU's monitor for as long as somebody supervises it: dials again when it is lost, until
 * `close()`, which the owner calls when the process is dead or no longer its business.
 */
export class MonitorLink {
  readonly #options: MonitorLinkOptions;
  readonly #over = new AbortController();
  #client: QmpClient;

  constructor(options: MonitorLinkOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  /** Begins to hand on events, the early ones first, and to watch the connection. To be called once. */
  start(): void {
    this.#watch(this.#client);
  }

  get isOpen(): boolean {
    return this.#client.isOpen;
  }

  /** When QEMU last said anything, on the clock of `performance.now()`. */
  get lastHeardMs(): number {
    return this.#client.lastHeardMs;
  }

  /** Settles when the connection of the moment is gone. */
  get closed(): Promise<QmpError> {
    return this.#client.closed;
  }

  /** As QmpClient.execute, over the connection of the moment; rejects with `closed` while there is none. */
  execute<C extends QmpCommand>(command: C, args: QmpArguments<C>, options: ExecuteOptions): Promise<QmpReply<C>> {
    return this.#client.execute(command, args, options);
  }

  /** Ends the connection and the dialling. Done twice it is no error. */
  close(): void {
    this.#over.abort(new QmpError("closed", "the QMP connection was closed by drover"));
    this.#client.close();
  }

  #watch(client: QmpClient): void {
    client.listen(this.#options.onEvent);
    void client.closed.then(async (error) => {
      if (this.#over.signal.aborted) return;
      this.#options.onClosed();
      await this.#redial(error);
    });
  }

  async #redial(error: QmpError): Promise<void> {
    const { signal } = this.#over;
    let isReported = false;
    while (!signal.aborted) {
      try {
        await pause(REDIAL_INTERVAL_MS, signal);
        if (!isReported) this.#options.onLost(error);
        isReported = true;
        const client = await this.#options.redial(signal);
        if (signal.aborted) return client.close();
        this.#client = client;
        this.#watch(client);
        this.#options.onBack();
        return;
      } catch {
        // Not reachable yet: the loss is reported, and the process's end or close() ends the loop.
      }
    }
  }
}
