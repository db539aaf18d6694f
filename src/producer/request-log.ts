import type { FastifyInstance } from "fastify";
import fp from "fastify-plugin";
import { pathOf } from "./error-reply.ts";

/**
 * One line per request, from an allow-list: no header, no query, no body, since each of them may hold a secret. Routes
 * that are polled have a log level of their own.
 */
export const requestLog = fp(
  async (app: FastifyInstance) => {
    app.addHook("onResponse", async (request, reply) => {
      const line = {
        method: request.method,
        path: pathOf(request).slice(0, 200),
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
        from: request.ip,
      };
      if (reply.statusCode >= 500) request.log.warn(line, "request failed");
      else if (request.routeOptions.url?.startsWith("/board") === true) request.log.debug(line, "request");
      else request.log.info(line, "request");
    });
  },
  { name: "request-log" },
);
