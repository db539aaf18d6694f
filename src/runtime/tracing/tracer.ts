import type { SpanAttributes, SpanName } from "./span-names.ts";

/** Where a span stands in its trace, as the header `traceparent` of W3C writes it; also what a VM's record keeps. */
export type TraceContext = string;

export interface SpanOptions {
  readonly kind?: "server" | "producer" | "consumer";
  /** Undefined, or not readable: the span begins a trace of its own. */
  readonly parent?: TraceContext | undefined;
  /** Spans of other traces that have to do with this one. */
  readonly links?: readonly (TraceContext | undefined)[];
  readonly attributes?: SpanAttributes;
  /** Unix ms; now when left out. */
  readonly startMs?: number | undefined;
}

export interface SpanEnd {
  /** A stable code of drover's (an error code, a cause), never a message. Without it the span went well. */
  readonly error?: string | undefined;
  /** Unix ms; now when left out. */
  readonly endMs?: number;
}

/** One piece of work with a beginning and an end. */
export interface Span {
  /** What spans below it name as their parent, here and in other processes; undefined where nothing is traced. */
  readonly context: TraceContext | undefined;
  set(attributes: SpanAttributes): void;
  /** Only the first end counts. */
  end(how?: SpanEnd): void;
}

/** The one way to spans. Starting one never waits, never throws and costs next to nothing where nothing is traced. */
export interface Tracer {
  start(name: SpanName, options?: SpanOptions): Span;
}

const NO_SPAN: Span = { context: undefined, set: () => undefined, end: () => undefined };

/** Traces nothing. */
export const NO_TRACER: Tracer = { start: () => NO_SPAN };

/** The id of the trace that a context belongs to, as tracing tools show it. */
export function traceIdOf(context: TraceContext | undefined): string | undefined {
  return context?.split("-")[1];
}
