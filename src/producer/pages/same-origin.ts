import { createHmac, timingSafeEqual } from "node:crypto";
import type { FastifyInstance, FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import { DroverError } from "../../contract/errors.ts";
import { onlyReads } from "../access/rules.ts";
import { readSessionCookie } from "./session-cookie.ts";

/**
 * Throws `csrf_failed` unless the browser itself says that the request comes from a page of this server. An Origin that
 * is neither ours nor allowed was refused before (`request-origin.ts`), so it is enough that there is one.
 */
export function assertSameOrigin({ headers }: FastifyRequest): void {
  if (headers["sec-fetch-site"] === "same-origin" || headers.origin !== undefined) return;
  throw new DroverError(
    "csrf_failed",
    "a browser that is logged in changes things from drover's own pages only; programs send a token as Authorization: Bearer",
  );
}

/** The word that the forms of a session carry. Another site can make a browser send the cookie, but cannot read this. */
export function formToken(session: string): string {
  return createHmac("sha256", session).update("form").digest("base64url");
}

/** Throws `csrf_failed` when a form does not carry the word of its session. */
export function assertFormToken(session: string, given: string): void {
  const wanted = Buffer.from(formToken(session));
  const shown = Buffer.from(given);
  if (shown.length === wanted.length && timingSafeEqual(shown, wanted)) return;
  throw new DroverError("csrf_failed", "this form is of another login; open the page anew and send it again");
}

/**
 * Whatever changes something on the word of a cookie has to come from a page of this server, on every route that is and
 * will be. A request with a token of its own is exempt: browsers add none by themselves.
 */
export const sameOriginHook = fp(
  async (app: FastifyInstance) => {
    app.addHook("onRequest", async (request) => {
      if (onlyReads(request.method) || request.headers.authorization !== undefined) return;
      if (readSessionCookie(request) !== undefined) assertSameOrigin(request);
    });
  },
  { name: "same-origin", dependencies: ["request-origin"] },
);
