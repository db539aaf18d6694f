import { hostname } from "node:os";
import {
  type Attributes,
  type Link,
  ROOT_CONTEXT,
  type Span as SdkSpan,
  type Tracer as SdkTracer,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { parseTraceParent } from "@opentelemetry/core";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace-base";
import { within } from "../bounded-wait.ts";
import { DROVER_VERSION } from "../version.ts";
import type { Collector } from "./collector.ts";
import type { SpanSource } from "./open-tracing.ts";
import { PatientExporter } from "./patient-exporter.ts";
import { ATTRIBUTE_NAMES, type SpanAttributes, type SpanName } from "./span-names.ts";
import type { Span, SpanEnd, SpanOptions, TraceContext, Tracer } from "./tracer.ts";

/** Spans that wait to be sent, at most; of more the newest are dropped. */
const WAITING_MAX = 2_048;
const BATCH_MAX = 512;
const SEND_EVERY_MS = 1_000;
/** Longer than one try to send takes. */
const SEND_MAX_MS = 3_000;
const CLOSE_MAX_MS = 1_000;

/** As Cocos's manager calls itself in traces. */
const SERVICE_NAME = "manager";
const TRACER_NAME = "manager";

const KINDS = { server: SpanKind.SERVER, producer: SpanKind.PRODUCER, consumer: SpanKind.CONSUMER } as const;

/** Spans by OpenTelemetry, sent in the background. Loaded only where there is a collector: see `openTracing`. */
export class OtlpSpans {
  readonly #ratio: number;
  readonly #exporter: PatientExporter;
  /** One for all sources: what waits is bounded for the process. */
  readonly #processor: BatchSpanProcessor;
  #closed: Promise<void> | undefined;

  constructor(collector: Collector, ratio: number) {
    this.#ratio = ratio;
    this.#exporter = new PatientExporter(collector);
    this.#processor = new BatchSpanProcessor(this.#exporter, {
      maxQueueSize: WAITING_MAX,
      maxExportBatchSize: BATCH_MAX,
      scheduledDelayMillis: SEND_EVERY_MS,
      exportTimeoutMillis: SEND_MAX_MS,
    });
  }

  tracer({ role, hostId }: SpanSource): Tracer {
    const provider = new BasicTracerProvider({
      resource: resourceFromAttributes({
        "service.name": SERVICE_NAME,
        "service.version": DROVER_VERSION,
        "host.id": hostId,
        "host.name": hostname(),
        "os.type": process.platform,
        "process.pid": process.pid,
        "drover.role": role,
      }),
      sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(this.#ratio) }),
      spanProcessors: [this.#processor],
    });
    return new OtlpTracer(provider.getTracer(TRACER_NAME));
  }

  /** Sends what waits; what takes longer than a second is lost. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const sent = this.#processor.shutdown().catch(() => undefined); // the exporter has told why
    await within(sent, CLOSE_MAX_MS);
    this.#exporter.abandon();
  }
}

class OtlpTracer implements Tracer {
  readonly #tracer: SdkTracer;

  constructor(tracer: SdkTracer) {
    this.#tracer = tracer;
  }

  start(name: SpanName, { kind, parent, links = [], attributes = {}, startMs }: SpanOptions = {}): Span {
    const above = spanContext(parent);
    const span = this.#tracer.startSpan(
      name,
      {
        kind: kind === undefined ? SpanKind.INTERNAL : KINDS[kind],
        attributes: named(attributes),
        links: links.flatMap((link): Link[] => {
          const context = spanContext(link);
          return context === undefined ? [] : [{ context }];
        }),
        // As a date: the SDK takes a number for a time since the process began where it is older than the process.
        ...(startMs === undefined ? {} : { startTime: new Date(startMs) }),
      },
      above === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, above),
    );
    return new OtlpSpan(span);
  }
}

class OtlpSpan implements Span {
  readonly context: TraceContext;
  readonly #span: SdkSpan;
  #isEnded = false;

  constructor(span: SdkSpan) {
    this.#span = span;
    const { traceId, spanId, traceFlags } = span.spanContext();
    this.context = `00-${traceId}-${spanId}-${(traceFlags & 1).toString().padStart(2, "0")}`;
  }

  set(attributes: SpanAttributes): void {
    this.#span.setAttributes(named(attributes));
  }

  end({ error, endMs }: SpanEnd = {}): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    if (error !== undefined) this.#span.setStatus({ code: SpanStatusCode.ERROR, message: error });
    this.#span.end(endMs === undefined ? undefined : new Date(endMs));
  }
}

/** What somebody has sent as a context; undefined where it is none. */
function spanContext(text: TraceContext | undefined): SpanContext | undefined {
  const context = text === undefined ? null : parseTraceParent(text);
  return context === null ? undefined : { ...context, isRemote: true };
}

function named(attributes: SpanAttributes): Attributes {
  return Object.fromEntries(
    Object.entries(attributes)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [ATTRIBUTE_NAMES[name as keyof SpanAttributes], value]), // the type has these names only
  );
}
