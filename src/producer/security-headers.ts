import type { FastifyInstance } from "fastify";
import fp from "fastify-plugin";

/**
 * One policy for pages and data: everything comes from this server and no other site may frame it. Inline styles are
 * what the two page kits use; inline scripts are not. It also keeps the dashboard from asking Google for its fonts.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'self'",
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

const HEADERS = {
  "content-security-policy": CONTENT_SECURITY_POLICY,
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
} as const;

/** Headers that every answer carries, so that a browser treats none of it as something else. */
export const securityHeaders = fp(
  async (app: FastifyInstance) => {
    app.addHook("onRequest", async (request, reply) => {
      reply.headers({ ...HEADERS, "x-request-id": request.id });
    });
  },
  { name: "security-headers" },
);
