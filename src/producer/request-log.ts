import type { FastifyInstance } from "fastify";
import fp from "fastify-plugin";
import { pathOf } from "./error-reply.ts";

/** Asked every few seconds by whoever watches; whether Redis is there is logged where it changes. */
const POLLED = /^\/(health|ready|board)(\/|$)/;

/** One line per request, from an allow-list: no header, no query, no body, since each of them may hold a secret. */
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
      if (POLLED.test(line.path)) request.log.debug(line, "request");
      else if (reply.statusCode >= 500) request.log.warn(line, "request failed");
      else request.log.info(line, "request");
    });
  },
  { name: "request-log" },
);
