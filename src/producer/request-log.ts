import type { FastifyInstance } from "fastify";
import fp from "fastify-plugin";
import { traceIdOf } from "../runtime/tracing/tracer.ts";
import { pathOf } from "./error-reply.ts";
import { traceOf } from "./request-trace.ts";

/** Asked every few seconds by whoever watches, or the same for all; whether Redis is there is logged where it changes. */
const POLLED = /^\/(health|ready|metrics|board|console)(\/|$)/;

/** One line per request, from an allow-list: no header, no query, no body, since each of them may hold a secret. */
export const requestLog = fp(
  async (app: FastifyInstance) => {
    app.addHook("onResponse", async (request, reply) => {
      const traceId = traceIdOf(traceOf(request));
      const line = {
        method: request.method,
        path: pathOf(request).slice(0, 200),
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
        from: request.ip,
        ...(traceId === undefined ? {} : { traceId }),
      };
      if (POLLED.test(line.path)) request.log.debug(line, "request");
      else if (reply.statusCode >= 500) request.log.warn(line, "request failed");
      else request.log.info(line, "request");
    });
  },
  { name: "request-log" },
);
