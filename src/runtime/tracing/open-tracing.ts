import type { Logger } from "pino";
import { pause } from "../bounded-wait.ts";
import type { Config } from "../config-shape.ts";
import { Collector } from "./collector.ts";
import type { OtlpSpans } from "./otlp-spans.ts";
import type { SpanName } from "./span-names.ts";
import { NO_TRACER, type Span, type SpanOptions, type Tracer } from "./tracer.ts";

/** A collector that was not there is looked for this often. */
const LOOK_MS = 30_000;

/** Whose spans a tracer makes: a process may be API and worker at once. */
export interface SpanSource {
  readonly role: "api" | "worker";
  /** The id of the instance. */
  readonly hostId: string;
}

/** The traces of a process. */
export interface Tracing {
  tracer(source: SpanSource): Tracer;
  /** Sends what waits, and gives up after a second. Idempotent. */
  close(): Promise<void>;
}

export const NO_TRACING: Tracing = { tracer: () => NO_TRACER, close: async () => undefined };

export interface TracingOptions {
  readonly config: Pick<Config["manager"], "jaegerUrl" | "traceRatio">;
  readonly logger: Logger;
  /** For tests. */
  readonly lookMs?: number;
}

/**
 * Traces to the collector of the configuration. OpenTelemetry itself is loaded only once a collector is there: without
 * one nothing is slower or larger. Returns when that is known, after a second at most; a collector that comes later is
 * found later.
 */
export async function openTracing({ config, logger, lookMs = LOOK_MS }: TracingOptions): Promise<Tracing> {
  if (config.traceRatio === 0) return NO_TRACING;
  const tracing = new CollectedTracing(new Collector(config.jaegerUrl, logger), config.traceRatio);
  await tracing.look();
  tracing.keepLooking(lookMs);
  return tracing;
}

class CollectedTracing implements Tracing {
  readonly #collector: Collector;
  readonly #ratio: number;
  readonly #closing = new AbortController();
  #spans: OtlpSpans | undefined;
  #looking: Promise<void> = Promise.resolve();

  constructor(collector: Collector, ratio: number) {
    this.#collector = collector;
    this.#ratio = ratio;
  }

  tracer(source: SpanSource): Tracer {
    let real: Tracer | undefined;
    return {
      start: (name: SpanName, options?: SpanOptions): Span => {
        real ??= this.#spans?.tracer(source);
        return (real ?? NO_TRACER).start(name, options);
      },
    };
  }

  /** Looks once for the collector, and loads what sends spans when it is there. */
  async look(): Promise<void> {
    const { signal } = this.#closing;
    if (!(await this.#collector.isThere(signal))) return;
    const { OtlpSpans } = await import("./otlp-spans.ts");
    if (!signal.aborted) this.#spans = new OtlpSpans(this.#collector, this.#ratio);
  }

  keepLooking(everyMs: number): void {
    this.#looking = this.#keepLooking(everyMs);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#looking;
    await this.#spans?.close();
  }

  async #keepLooking(everyMs: number): Promise<void> {
    const { signal } = this.#closing;
    while (this.#spans === undefined && !signal.aborted) {
      await pause(everyMs, signal).catch(() => undefined); // closing: the loop ends
      if (!signal.aborted) await this.look();
    }
  }
}
