import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import { z } from "zod";
import { problemCodeOf } from "../error-reply.ts";
import { knownPrincipal } from "../principal.ts";
import type { Audit } from "./audit.ts";
import { onlyReads } from "./rules.ts";

const Target = z.object({ id: z.string() });

/** Where no problem document was sent: a page was. */
const OUTCOMES: Readonly<Record<number, string>> = { 401: "unauthenticated", 403: "forbidden" };

/**
 * A line of the audit for each request that changes something, whatever comes of it, and for those that only look and
 * were refused with a token that does not fit or a role that is not enough. The line is written when the answer is
 * sent; for a reader that has gone, when it is decided, since until then nobody knows what comes of the request.
 */
export const auditHook = fp<{ readonly audit: Audit }>(
  async (app: FastifyInstance, { audit }) => {
    const told = new WeakSet<FastifyRequest>();
    const decided = new WeakSet<FastifyRequest>();
    const tell = (request: FastifyRequest, reply: FastifyReply) => {
      const { config } = request.routeOptions;
      const outcome = outcomeOf(request, reply);
      if (told.has(request) || config.access === undefined) return;
      told.add(request);
      const refused =
        outcome === "forbidden" || (outcome === "unauthenticated" && request.headers.authorization !== undefined);
      if (onlyReads(request.method) && !refused) return;
      audit.note({
        principal: knownPrincipal(request),
        action: onlyReads(request.method) ? "access" : (config.audit ?? "unknown"),
        target: targetOf(request, reply),
        remote: request.ip,
        protocol: "http",
        outcome,
        requestId: request.id,
      });
    };
    app.addHook("onRequest", async (request, reply) => {
      reply.raw.once("close", () => {
        if (decided.has(request)) tell(request, reply);
      });
    });
    app.addHook("onSend", async (request, reply) => {
      decided.add(request);
      if (reply.raw.destroyed) tell(request, reply);
    });
    app.addHook("onResponse", async (request, reply) => tell(request, reply));
  },
  { name: "audit", dependencies: ["access-rules"] },
);

function outcomeOf(request: FastifyRequest, reply: FastifyReply): string {
  const code = problemCodeOf(request);
  if (code !== undefined) return code;
  const { statusCode } = reply;
  return statusCode < 400 ? "ok" : (OUTCOMES[statusCode] ?? `status_${statusCode}`);
}

/** The id in the address, or of what was made. */
function targetOf(request: FastifyRequest, reply: FastifyReply): string {
  const named = Target.safeParse(request.params);
  if (named.success) return named.data.id;
  const location = reply.getHeader("location");
  return typeof location === "string" && location.startsWith("/v1/")
    ? location.slice(location.lastIndexOf("/") + 1)
    : "";
}
