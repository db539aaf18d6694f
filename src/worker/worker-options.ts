import type { Logger } from "pino";
import type { Config } from "../runtime/config-shape.ts";
import type { Meter } from "../runtime/metrics/meter.ts";
import type { Tracing } from "../runtime/tracing/open-tracing.ts";

/** What a worker is started with. */
export interface WorkerOptions {
  readonly config: Config;
  readonly logger: Logger;
  /** Of this worker alone when left out. */
  readonly meter?: Meter;
  /** Traces nothing when left out. */
  readonly tracing?: Tracing;
  /** Gives the start up, however far it is; afterwards it does nothing. */
  readonly abandon?: AbortSignal;
}
