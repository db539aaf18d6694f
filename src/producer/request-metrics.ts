import type { FastifyInstance } from "fastify";
import fp from "fastify-plugin";
import type { Counting } from "../runtime/metrics/meter.ts";
import { noteRefusal } from "./access/refusals.ts";
import { problemCodeOf } from "./error-reply.ts";

/** Answers that stay open: how long they took says when their reader left, and nothing else. */
const OPEN_ANSWER = /^text\/event-stream/;
/** Methods that HTTP clients use; anybody could make up others. */
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** Counts every request that was answered, by its route as it is written here and never by the path that came. */
export const requestMetrics = fp<{ readonly counting: Counting }>(
  async (app: FastifyInstance, { counting }) => {
    app.addHook("onResponse", async (request, reply) => {
      const { routeOptions } = request;
      const route = routeOptions.config.access === undefined ? "none" : (routeOptions.url ?? "none");
      const method = METHODS.includes(request.method) ? request.method : "other";
      counting.count("drover_http_requests_total", { method, route, status: String(reply.statusCode) });
      noteRefusal(counting, "http", problemCodeOf(request));
      if (OPEN_ANSWER.test(String(reply.getHeader("content-type") ?? ""))) return;
      counting.observe("drover_http_request_seconds", { route }, reply.elapsedTime / 1_000);
    });
  },
  { name: "request-metrics" },
);
