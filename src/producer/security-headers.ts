import type { FastifyInstance, FastifyRequest } from "fastify";
import fp from "fastify-plugin";

/** Data is no page: nothing in it runs or loads, and nobody frames it. Pages of ours have a policy of their own. */
const DATA_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/**
 * Of the two page kits: everything comes from this server. Inline styles are what they use; inline scripts are not. It
 * also keeps the dashboard from asking Google for its fonts.
 */
const KIT_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "object-src 'none'",
  "base-uri 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");
const KIT_PATH = /^\/(board|docs)([/?]|$)/;

const HEADERS = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  // `no-referrer` would make browsers hide the Origin of our own forms, too.
  "referrer-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-store",
} as const;

/** A browser that saw it over TLS comes back over TLS only. */
const HSTS = "max-age=31536000";
/** It counts for all ports of a name, and other services of a machine are called localhost as well. */
const LOOPBACK = /^(localhost|127\.|\[::1\])/i;

/** Headers that every answer carries, so that a browser treats none of it as something else. */
export const securityHeaders = fp(
  async (app: FastifyInstance) => {
    app.addHook("onRequest", async (request, reply) => {
      reply.headers({
        ...HEADERS,
        "content-security-policy": KIT_PATH.test(request.url) ? KIT_POLICY : DATA_POLICY,
        "x-request-id": request.id,
      });
      if (wantsHsts(request)) reply.header("strict-transport-security", HSTS);
    });
  },
  { name: "security-headers" },
);

function wantsHsts({ protocol, headers }: FastifyRequest): boolean {
  return protocol === "https" && !LOOPBACK.test(headers.host ?? "");
}
