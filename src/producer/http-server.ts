import { createServer, type RequestListener, type Server, type ServerOptions } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import type { FastifyServerFactory } from "fastify";
import { DroverError, type ErrorCode } from "../contract/errors.ts";
import type { ListenerConfig } from "../runtime/config-shape.ts";
import type { ListenerTls } from "../runtime/tls/listener-tls.ts";
import { boundBodies, UPLOAD_MAX_MS } from "./body-deadline.ts";
import { PROBLEM_TYPE, toProblem } from "./problem.ts";

/** Open connections at most: far above what an API needs, below usual limits of file descriptors. */
const CONNECTIONS_MAX = 4_000;
/** Node looks for overdue requests only this often; its default of 30 s would stretch every limit by as much. */
const OVERDUE_CHECK_MS = 1_000;
/** Node waits two minutes for a handshake; until it is done no other limit counts. */
const HANDSHAKE_MAX_MS = 10_000;

/** Makes the listener: bounds in time and size, and TLS where there are certificates, in their newest state. */
export function httpServerFactory(config: ListenerConfig, tls: ListenerTls | undefined): FastifyServerFactory {
  return (handler) => {
    const options = {
      ...(config.maxHeaderBytes > 0 ? { maxHeaderSize: config.maxHeaderBytes } : {}),
      requestTimeout: config.readTimeoutMs === 0 ? 0 : Math.max(config.readTimeoutMs, UPLOAD_MAX_MS),
      headersTimeout: headersTimeoutMs(config),
      keepAliveTimeout: config.idleTimeoutMs,
      connectionsCheckingInterval: OVERDUE_CHECK_MS,
      insecureHTTPParser: false,
    };
    const server: Server = tls === undefined ? createServer(options, handler) : tlsServer({ options, tls, handler });
    boundBodies(server, config.readTimeoutMs);
    server.setTimeout(config.writeTimeoutMs);
    server.maxConnections = CONNECTIONS_MAX;
    return server;
  };
}

function tlsServer({
  options,
  tls,
  handler,
}: {
  options: ServerOptions;
  tls: ListenerTls;
  handler: RequestListener;
}): Server {
  const server = createTlsServer({ ...options, ...tls.context, handshakeTimeout: HANDSHAKE_MAX_MS }, handler);
  server.once(
    "close",
    tls.onChange(() => server.setSecureContext(tls.context)),
  );
  return server;
}

/** Headers are part of the request, so its limit bounds them too; Node refuses to start otherwise. 0 is no limit. */
function headersTimeoutMs({ readHeaderTimeoutMs, readTimeoutMs }: ListenerConfig): number {
  if (readTimeoutMs === 0 || readHeaderTimeoutMs === 0) return readHeaderTimeoutMs;
  return Math.min(readHeaderTimeoutMs, readTimeoutMs);
}

const PARSER_CODES: Readonly<Record<string, readonly [code: ErrorCode, detail: string]>> = {
  HPE_HEADER_OVERFLOW: ["headers_too_large", "the header fields are larger than this server takes"],
  ERR_HTTP_REQUEST_TIMEOUT: ["request_timeout", "the request did not arrive in time"],
};

/** Answers what Node's parser refuses before there is a request, and closes the connection. */
export function refuseConnection(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const [code, detail] = PARSER_CODES[error.code ?? ""] ?? (["invalid_request", "this is not valid HTTP/1.1"] as const);
  const problem = toProblem(new DroverError(code, detail), { id: "none", path: "" });
  const body = JSON.stringify({ ...problem, instance: undefined, requestId: undefined });
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${problem.title}`,
      `Content-Type: ${PROBLEM_TYPE}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
      "Connection: close",
      "",
      body,
    ].join("\r\n"),
    () => socket.destroy(),
  );
}
