import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from "fastify";
import fp from "fastify-plugin";
import { DroverError, type ErrorCode } from "../contract/errors.ts";
import { replyWithPage, wantsPage } from "./pages/error-page.ts";
import { PROBLEM_TYPE, retryAfterS, toDroverError, toProblem } from "./problem.ts";

/** What requests were refused with, for the audit. */
const codes = new WeakMap<FastifyRequest, ErrorCode>();

/** The code of the problem that a request was answered with; undefined when there was none. */
export function problemCodeOf(request: FastifyRequest): ErrorCode | undefined {
  return codes.get(request);
}

/** Of a request whose sender hung up within its body; the connection's error looks like one of Redis's. */
const CUT_OFF = new DroverError("malformed_body", "the body ended before it was whole");

const METHODS: readonly HTTPMethods[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/**
 * Answers with the problem document of an error, or its page where a person looks; the one place that does. Unexpected
 * errors are logged here, once.
 */
export function replyWithProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const known = request.raw.errored === error ? CUT_OFF : toDroverError(error);
  codes.set(request, known.code);
  if (known.code === "internal_error") request.log.error({ err: error }, "a request failed unexpectedly");
  else if (known.cause !== undefined)
    request.log.debug({ code: known.code, err: known.cause }, "a request was refused");
  const retryAfter = retryAfterS(known.code);
  if (known.code === "unauthenticated") reply.header("www-authenticate", 'Bearer realm="drover"');
  if (retryAfter !== undefined) reply.header("retry-after", String(retryAfter));
  const problem = toProblem(known, { id: request.id, path: pathOf(request) });
  if (wantsPage(request)) {
    replyWithPage(problem, request, reply);
    return;
  }
  // Sent as text: the response schemas are for successes, and an error must not fail once more.
  reply.code(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem));
}

/** The path without the query, whose values could be anything. */
export function pathOf(request: FastifyRequest): string {
  return request.url.split("?", 1)[0] ?? "";
}

/** Every error and every unknown page as a problem document. */
export const errorReply = fp(
  async (app: FastifyInstance) => {
    app.setErrorHandler<FastifyError>((error, request, reply) => replyWithProblem(error, request, reply));
    app.setNotFoundHandler((request, reply) => {
      const allowed = METHODS.filter((method) => app.findRoute({ method, url: pathOf(request) }) !== null);
      if (allowed.length === 0) {
        replyWithProblem(
          new DroverError("not_found", `there is no ${pathOf(request)}; see /docs for what there is`),
          request,
          reply,
        );
        return;
      }
      reply.header("allow", allowed.join(", "));
      const detail = `${request.method} is not offered here, only ${allowed.join(", ")}`;
      replyWithProblem(new DroverError("method_not_allowed", detail), request, reply);
    });
  },
  { name: "error-reply" },
);
