import type { LaunchPart, LaunchPhase, SpanAttributes } from "../runtime/tracing/span-names.ts";
import type { Span, SpanEnd, TraceContext, Tracer } from "../runtime/tracing/tracer.ts";
import type { Launch } from "./launch.ts";

/**
 * The spans of one launch in this process, all in the trace of the request that the VM came from, whichever worker has
 * it. A part (`launch`, `adopt`, `end`) goes through its phases one after the other. Between the parts lies the life of
 * the guest, which may take days: it has no span.
 */
export class LaunchTrace {
  readonly #tracer: Tracer;
  readonly #launch: Launch;
  /** Where the next span stands: below the launch of this process, else below the request. */
  #above: TraceContext | undefined;
  #part: Span | undefined;
  #phase: Span | undefined;

  constructor(tracer: Tracer, launch: Launch) {
    this.#tracer = tracer;
    this.#launch = launch;
    this.#above = launch.trace;
  }

  /** Begins with what was before this: the wait in the queue, and the way from the fetch to the port. */
  beginLaunch(): void {
    const { startedAtMs, queuedAtMs = startedAtMs } = this.#launch;
    // Two clocks, Redis's and ours: a wait is not told to have ended before it began.
    this.#note("queued", { startMs: Math.min(queuedAtMs, startedAtMs), endMs: startedAtMs }, "consumer");
    this.begin("launch", startedAtMs);
    this.#above = this.#part?.context ?? this.#above;
    this.#phase = this.#start("prepare", startedAtMs);
  }

  begin(part: LaunchPart, startMs?: number): void {
    this.end();
    this.#part = this.#start(part, startMs);
  }

  /** The phase before it is over. */
  phase(name: LaunchPhase): void {
    this.#phase?.end();
    this.#phase = this.#start(name);
  }

  /** The part is over, and its last phase. */
  end(how?: SpanEnd, attributes: SpanAttributes = {}): void {
    this.#phase?.end(how);
    this.#phase = undefined;
    const { port } = this.#launch; // it may have changed meanwhile
    this.#part?.set({ port, ...attributes });
    this.#part?.end(how);
    this.#part = undefined;
  }

  /** The guest became ready; it began to run at `startMs` (Unix ms). */
  noteReady(startMs: number): void {
    this.#note("ready", { startMs });
  }

  /** The stop ladder, whose end the caller tells. */
  stopping(): Span {
    return this.#start("stop_guest");
  }

  #note(name: "queued" | "ready", { startMs, endMs }: SpanEnd & { startMs: number }, kind?: "consumer"): void {
    this.#start(name, startMs, kind).end(endMs === undefined ? {} : { endMs });
  }

  #start(
    name: LaunchPart | LaunchPhase | "queued" | "ready" | "stop_guest",
    startMs?: number,
    kind?: "consumer",
  ): Span {
    const { identity, port } = this.#launch;
    const { vmId, epoch, host, pool } = identity;
    return this.#tracer.start(name, {
      ...(kind === undefined ? {} : { kind }),
      parent: this.#part?.context ?? this.#above,
      startMs,
      attributes: { vmId, epoch, host, pool, port },
    });
  }
}
