import type { FastifyRequest } from "fastify";
import type { Principal } from "../principal.ts";
import { formToken } from "./same-origin.ts";
import { readSessionCookie } from "./session-cookie.ts";

/** Who looks at a page, and the word of the forms of its session if it has one. */
export interface Visitor {
  readonly principal: Principal;
  readonly formToken: string | undefined;
}

export function visitorOf(request: FastifyRequest): Visitor {
  const { principal } = request;
  const session = principal.via === "session" ? readSessionCookie(request) : undefined;
  return { principal, formToken: session === undefined ? undefined : formToken(session) };
}
