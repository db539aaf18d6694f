import type { FastifyRequest } from "fastify";
import { verifiedSubject } from "../../runtime/tls/certificate-subject.ts";
import { readSessionCookie } from "../pages/session-cookie.ts";
import type { Credentials } from "./authenticator.ts";
import { isGuestConnection } from "./guest-connection.ts";
import { isLoopback } from "./loopback.ts";
import { PROXY_HEADERS } from "./proxy-headers.ts";

const BEARER = /^Bearer +(\S+) *$/i;

/** What an HTTP request shows of its sender. An Authorization header of another scheme counts as a token of nobody. */
export function requestCredentials(request: FastifyRequest): Credentials {
  const { authorization } = request.headers;
  return {
    protocol: "http",
    bearer: authorization === undefined ? undefined : (BEARER.exec(authorization)?.[1] ?? ""),
    session: readSessionCookie(request),
    certificateSubject: verifiedSubject(request.raw.socket),
    // Whoever is on this machine has no need of another name for it; a proxy may pass the name on that it is called by.
    proxied: PROXY_HEADERS.some((name) => request.headers[name] !== undefined) || !isLoopback(request.hostname),
    isGuest: () => isGuestConnection(request.raw.socket),
    remote: request.ip,
  };
}
