import { type ExportResult, ExportResultCode } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace-base";
import { errnoOf } from "../errno.ts";
import type { Collector } from "./collector.ts";

/** One try, together with its second one. */
const TRY_MAX_MS = 2_000;
/** A collector that did not take spans is left alone for this long; what ends meanwhile is dropped. */
const LEAVE_ALONE_MS = 10_000;

/**
 * Sends spans to the collector. One that is away or hangs costs one try in a while and one line in the log, and no
 * memory: its spans are dropped.
 */
export class PatientExporter implements SpanExporter {
  readonly #collector: Collector;
  readonly #otlp: OTLPTraceExporter;
  #tryAgainAtMs = 0;
  #isAbandoned = false;

  constructor(collector: Collector) {
    this.#collector = collector;
    this.#otlp = new OTLPTraceExporter({ url: collector.url, timeoutMillis: TRY_MAX_MS });
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    // Never a failure: the SDK would print it, each time.
    const finish = () => done({ code: ExportResultCode.SUCCESS });
    if (this.#isAbandoned || performance.now() < this.#tryAgainAtMs) finish();
    else {
      this.#otlp.export(spans, (result) => {
        if (!this.#isAbandoned) this.#note(result);
        finish();
      });
    }
  }

  /** Nothing more is sent or told. */
  abandon(): void {
    this.#isAbandoned = true;
  }

  async shutdown(): Promise<void> {
    await this.#otlp.shutdown();
  }

  #note({ code, error }: ExportResult): void {
    if (code === ExportResultCode.SUCCESS) {
      this.#collector.noteThere();
      return;
    }
    this.#tryAgainAtMs = performance.now() + LEAVE_ALONE_MS;
    this.#collector.noteAway(reasonOf(error));
  }
}

/** A short word; the collector's own text may be anything. */
function reasonOf(error: Error | undefined): string {
  const code = errnoOf(error) ?? (error !== undefined && "code" in error ? error.code : undefined);
  return typeof code === "number" ? `HTTP status ${code}` : String(code ?? "no answer in time");
}
