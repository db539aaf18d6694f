import type { Logger } from "pino";
import type { RedisClient } from "../queue/connection.ts";
import { timeScripts } from "../queue/script-timing.ts";
import type { Config } from "../runtime/config-shape.ts";
import { Meter } from "../runtime/metrics/meter.ts";
import { WatchServer } from "./watch-server.ts";
import { healthProblems, type WorkerParts, workerGauges } from "./worker-health.ts";

/** What can be seen of a worker from outside: its metrics, and whether it does its work. */
export class WorkerWatch {
  readonly meter: Meter;
  #parts: WorkerParts | undefined;
  readonly #forget: () => void;
  #server: WatchServer | undefined;

  private constructor(meter: Meter) {
    this.meter = meter;
    meter.declare("worker");
    this.#forget = meter.atScrape(workerGauges(() => this.#parts));
  }

  /** Begins to listen, before the worker has started. `meter` is shared with an API in the same process. */
  static async open({ config, logger, meter = new Meter() }: WorkerWatchOptions): Promise<WorkerWatch> {
    const watch = new WorkerWatch(meter);
    watch.#server = await WatchServer.open({
      config,
      logger,
      metrics: async () => ({ type: meter.contentType, text: await meter.scrape() }),
      problems: () => healthProblems(watch.#parts),
    });
    return watch;
  }

  /** Times the scripts that go over this connection. */
  timed(redis: RedisClient): RedisClient {
    timeScripts(redis, this.meter);
    return redis;
  }

  /** Where others scrape this worker; `address` is under what they reach its host. Undefined where they cannot. */
  url(address: string): string | undefined {
    return this.#server?.url(address);
  }

  /** The worker has started: from now on these say how it does. */
  begin(parts: WorkerParts): void {
    this.#parts = parts;
  }

  async close(): Promise<void> {
    this.#forget();
    await this.#server?.close();
  }
}

export interface WorkerWatchOptions {
  readonly config: Pick<Config, "watching" | "qemu">;
  readonly logger: Logger;
  readonly meter?: Meter | undefined;
}
