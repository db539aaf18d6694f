import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import { DroverError } from "../contract/errors.ts";

/** What the checks look at; all of it comes from the wire or from the socket. */
export interface RequestOrigin {
  readonly method: string;
  readonly protocol: string;
  readonly host: string | undefined;
  readonly origin: string | undefined;
  readonly fetchSite: string | undefined;
  readonly fetchMode: string | undefined;
  /** Address of this server that the connection came in on. */
  readonly localAddress: string | undefined;
}

export interface AllowedOrigins {
  /** Host and address of the listener as configured. */
  readonly listenHost: string;
  readonly hosts: readonly string[];
  readonly origins: readonly string[];
}

/**
 * Throws when a request did not come from where this API may be called from. Without these checks any web page that
 * somebody on this machine opens could call a loopback API: directly, or by DNS rebinding, where the page's own name
 * suddenly means 127.0.0.1. So the Host must be a name that is known to mean this server.
 */
export function checkOrigin(request: RequestOrigin, allowed: AllowedOrigins): void {
  const { host, origin, fetchSite } = request;
  if (host === undefined || !isOurHost(host, request.localAddress, allowed)) {
    throw new DroverError(
      "host_not_allowed",
      `this server does not answer for the host ${quoted(host)}; use its address, or add the name to DROVER_ALLOWED_HOSTS`,
    );
  }
  if (origin !== undefined && !isOurOrigin(origin, `${request.protocol}://${host}`, allowed)) {
    throw new DroverError(
      "origin_not_allowed",
      `a page of ${quoted(origin)} may not call this API; add the origin to DROVER_ALLOWED_ORIGINS if it should`,
    );
  }
  // Browsers leave Origin out of some requests but never this; following a link to a page is harmless.
  const followsLink = request.method === "GET" && request.fetchMode === "navigate";
  if (fetchSite === "cross-site" && !followsLink && !isListed(origin, allowed.origins)) {
    throw new DroverError("origin_not_allowed", "a page of another site may not call this API");
  }
}

function isOurHost(host: string, localAddress: string | undefined, { listenHost, hosts }: AllowedOrigins): boolean {
  const name = hostName(host);
  if (name === undefined) return false;
  if (isLoopbackName(name) || isListed(name, hosts.map(bare))) return true;
  const own = [listenHost, localAddress?.replace(/^::ffff:(?=\d+\.)/, "")];
  return own.some((address) => address !== undefined && isConcrete(address) && bare(address) === name);
}

/** Name or address of a Host header without port and brackets, in lower case; undefined for what no URL could hold. */
function hostName(host: string): string | undefined {
  if (!/^[A-Za-z0-9._:[\]-]{1,255}$/.test(host) || !URL.canParse(`http://${host}/`)) return undefined;
  return bare(new URL(`http://${host}/`).hostname);
}

function bare(address: string): string {
  return address.replace(/^\[|\]$/g, "").toLowerCase();
}

function isLoopbackName(name: string): boolean {
  return name === "localhost" || name === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}

/** The wildcard addresses name no server: everybody's name could resolve to them. */
function isConcrete(address: string): boolean {
  return address !== "" && address !== "0.0.0.0" && address !== "::";
}

function isOurOrigin(origin: string, own: string, { origins }: AllowedOrigins): boolean {
  if (isListed(origin, origins)) return true;
  return URL.canParse(origin) && URL.canParse(own) && new URL(origin).origin === new URL(own).origin;
}

function isListed(value: string | undefined, list: readonly string[]): boolean {
  return value !== undefined && list.some((entry) => entry.toLowerCase() === value.toLowerCase());
}

function quoted(value: string | undefined): string {
  return value === undefined ? "(none)" : JSON.stringify(value.slice(0, 100));
}

/** Checks every request before anything else looks at it. */
export const originHook = fp<AllowedOrigins>(
  async (app: FastifyInstance, allowed) => {
    app.addHook("onRequest", async (request, reply) => {
      try {
        assertUnambiguous(request.raw);
        checkOrigin(originOf(request), allowed);
      } catch (error) {
        reply.header("connection", "close"); // what follows may have been meant for somebody else, too
        throw error;
      }
    });
  },
  { name: "request-origin" },
);

/** Throws when another server before this one could have read the request differently; Node takes such ones. */
function assertUnambiguous({ rawHeaders, httpVersionMajor, url = "" }: IncomingMessage): void {
  const hosts = rawHeaders.filter((text, i) => i % 2 === 0 && text.toLowerCase() === "host");
  if (hosts.length > 1 || httpVersionMajor !== 1 || !url.startsWith("/")) {
    throw new DroverError("invalid_request", "send HTTP/1.1 with one Host header and a path that begins with /");
  }
}

function originOf({ method, protocol, headers, raw }: FastifyRequest): RequestOrigin {
  return {
    method,
    protocol,
    host: headers.host,
    origin: headers.origin,
    fetchSite: single(headers["sec-fetch-site"]),
    fetchMode: single(headers["sec-fetch-mode"]),
    localAddress: raw.socket.localAddress,
  };
}

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}
