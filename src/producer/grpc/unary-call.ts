import { type handleUnaryCall, type Metadata, type ServerUnaryCall, status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { AnswerFacts } from "../../contract/grpc-metadata.ts";
import { linkSignals } from "../../runtime/link-signals.ts";
import type { ServerSpanName } from "../../runtime/tracing/span-names.ts";
import type { Span, TraceContext, Tracer } from "../../runtime/tracing/tracer.ts";
import type { Principal } from "../principal.ts";
import type { GrpcCallers } from "./grpc-callers.ts";
import { isUnforeseen, toMetadata, toStatus } from "./grpc-status.ts";

/** Why nobody waits for an answer any more: the caller hung up, or this server shuts down. */
type CallEnd = "cancelled" | "closing";

/** One call with one request and one answer. */
export interface UnaryCall<Req> {
  readonly request: Req;
  readonly metadata: Metadata;
  readonly principal: Principal;
  /** Where the span of the call stands. */
  readonly trace: TraceContext | undefined;
  /** Address of the caller, without port. */
  readonly remote: string;
  /** Aborted when waiting makes no sense any more; the reason is `cancelled` or `closing`. */
  readonly signal: AbortSignal;
  /** What the caller's deadline leaves, less what it takes to answer in time. Undefined: the caller has set none. */
  timeLeftMs(): number | undefined;
  /** Sends metadata ahead of the answer; only the first time counts. */
  tell(facts: AnswerFacts): void;
}

export interface Answer<Res> {
  readonly response: Res;
  /** Metadata behind the answer. */
  readonly facts?: AnswerFacts;
}

export interface UnaryDeps {
  readonly callers: GrpcCallers;
  readonly logger: Logger;
  readonly tracer: Tracer;
  readonly closing: AbortSignal;
}

/** An answer must be on its way before the caller's deadline, or its text would come too late: by a tenth of the time. */
const ANSWER_SHARE = 0.1;
const ANSWER_MIN_MS = 100;
const ANSWER_MAX_MS = 500;

/** What OpenTelemetry takes for an error of the server. */
const SERVER_FAULTS: readonly status[] = [
  status.UNKNOWN,
  status.DEADLINE_EXCEEDED,
  status.UNIMPLEMENTED,
  status.INTERNAL,
  status.UNAVAILABLE,
  status.DATA_LOSS,
];

/** A handler for grpc-js out of a function: with its caller, an end to its wait, and a status for all that it throws. */
export function unaryCall<Req, Res>(
  { callers, logger, tracer, closing }: UnaryDeps,
  handle: (call: UnaryCall<Req>) => Promise<Answer<Res>>,
): handleUnaryCall<Req, Res> {
  return (call, callback) => {
    const { principal, requestId, remote } = callers.of(call.metadata);
    const span = serverSpan(tracer, call);
    const gone = new AbortController();
    call.on("cancelled", () => gone.abort("cancelled" satisfies CallEnd));
    const linked = linkSignals([gone.signal, closing]);
    const answerByMs = answerBy(call.getDeadline());
    const run = async () => {
      if (principal === undefined) throw new Error(`${call.getPath()} was called by nobody`);
      return handle({
        request: call.request,
        metadata: call.metadata,
        principal,
        trace: span.context,
        remote,
        signal: linked.signal,
        timeLeftMs: () => (answerByMs === undefined ? undefined : Math.max(0, answerByMs - Date.now())),
        tell: (facts) => call.sendMetadata(toMetadata(facts)),
      });
    };
    run()
      .then(
        ({ response, facts = {} }) => {
          endSpan(span, status.OK);
          callback(null, response, toMetadata(facts));
        },
        (error: unknown) => {
          if (isUnforeseen(error)) logger.error({ err: error, requestId }, "a call failed unexpectedly");
          const failed = toStatus(error, requestId);
          endSpan(span, failed.code);
          callback(failed);
        },
      )
      .finally(() => linked.release());
  };
}

/** In the trace of the caller where its `traceparent` names one. */
function serverSpan(tracer: Tracer, call: ServerUnaryCall<unknown, unknown>): Span {
  const [parent] = call.metadata.get("traceparent");
  const name = call.getPath().slice(1) as ServerSpanName; // a path of gRPC is "/package.Service/Method"
  const [rpcService = "", rpcMethod = ""] = name.split("/");
  return tracer.start(name, {
    kind: "server",
    parent: typeof parent === "string" ? parent : undefined,
    attributes: { rpcService, rpcMethod },
  });
}

function endSpan(span: Span, rpcStatus: status): void {
  span.set({ rpcStatus });
  span.end(SERVER_FAULTS.includes(rpcStatus) ? { error: status[rpcStatus] } : {});
}

/** Unix ms. Undefined without a deadline. */
function answerBy(deadline: Date | number): number | undefined {
  const deadlineMs = Number(deadline);
  if (!Number.isFinite(deadlineMs)) return undefined;
  const leftMs = deadlineMs - Date.now();
  const earlyMs = Math.min(ANSWER_MAX_MS, Math.max(ANSWER_MIN_MS, leftMs * ANSWER_SHARE));
  return deadlineMs - Math.min(earlyMs, leftMs / 2);
}
