import type { FastifyInstance, FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import { knownPrincipal, type Principal, setPrincipal } from "../principal.ts";
import { type Allowance, RateExceeded } from "./rate-limit.ts";

/** Tells each caller for whom a limit counts how much of it is left, and one that has met it when to go on. */
export const rateHeaders = fp<{
  readonly allowance: (principal: Principal, from: { readonly remote: string }) => Allowance | undefined;
}>(
  async (app: FastifyInstance, { allowance }) => {
    const refused = new WeakMap<FastifyRequest, Allowance>();
    app.addHook("onError", async (request, _reply, error) => {
      if (!(error instanceof RateExceeded)) return;
      refused.set(request, error.allowance);
      setPrincipal(request, error.principal); // the audit tells who it is
    });
    app.addHook("onSend", async (request, reply) => {
      const principal = knownPrincipal(request);
      const met = refused.get(request);
      const left = met ?? (principal === undefined ? undefined : allowance(principal, { remote: request.ip }));
      if (left === undefined) return;
      reply.headers({
        "ratelimit-limit": String(left.limit),
        "ratelimit-remaining": String(left.remaining),
        "ratelimit-reset": String(left.resetS),
      });
      if (met !== undefined) reply.header("retry-after", String(Math.max(1, met.resetS)));
    });
  },
  { name: "rate-headers" },
);
