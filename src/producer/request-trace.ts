import type { FastifyInstance, FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import type { Span, TraceContext, Tracer } from "../runtime/tracing/tracer.ts";
import { onlyReads } from "./access/rules.ts";
import { problemCodeOf } from "./error-reply.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Traces a route that only looks; those that change something are traced anyway. */
    readonly traced?: boolean;
  }
}

const spans = new WeakMap<FastifyRequest, Span>();

/** Where the span of a request stands, for the spans below it; undefined for a request that is not traced. */
export function traceOf(request: FastifyRequest): TraceContext | undefined {
  return spans.get(request)?.context;
}

/**
 * A span for each request that changes something, in the trace of the caller where its `traceparent` names one. Looking
 * is not traced: pages and clients look every few seconds. Nor are strangers: it comes after the principal is known.
 */
export const requestTrace = fp<{ readonly tracer: Tracer }>(
  async (app: FastifyInstance, { tracer }) => {
    app.addHook("onRequest", async (request, reply) => {
      const { config, url = "" } = request.routeOptions;
      if (config.access === undefined || (onlyReads(request.method) && config.traced !== true)) return;
      const { traceparent } = request.headers;
      const span = tracer.start(`${request.method} /${url.slice(1)}`, {
        kind: "server",
        parent: typeof traceparent === "string" ? traceparent : undefined,
        startMs: Date.now() - reply.elapsedTime,
        attributes: { httpMethod: request.method, httpRoute: url },
      });
      spans.set(request, span);
    });
    app.addHook("onResponse", async (request, reply) => {
      const span = spans.get(request);
      span?.set({ httpStatus: reply.statusCode });
      // As OpenTelemetry has it: what the client did wrong is no fault of the server.
      span?.end(reply.statusCode >= 500 ? { error: problemCodeOf(request) ?? "internal_error" } : {});
    });
  },
  { name: "request-trace", dependencies: ["principal"] },
);
