import { timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Logger } from "pino";
import { DroverError } from "../contract/errors.ts";
import type { Config, WatchAddress } from "../runtime/config-shape.ts";
import { errnoOf } from "../runtime/errno.ts";
import { isGuestSocket } from "../runtime/guest-socket.ts";
import { isLoopbackHost } from "../runtime/redis-url.ts";
import { tokenDigest } from "../runtime/token-text.ts";

const USUAL_PLACE: WatchAddress = { host: "127.0.0.1", port: 7004 };
/** A second worker of a machine takes another port; one that VMs may get is no good for that. */
const FREE_PORT_TRIES = 10;
/** A scrape is one small request. */
const HEADERS_MAX_BYTES = 8_192;
const REQUEST_MAX_MS = 5_000;
const CONNECTIONS_MAX = 32;
const TOKEN_MIN_CHARS = 16;

interface WatchAnswer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

export interface WatchServerOptions {
  readonly config: Pick<Config, "watching" | "qemu">;
  /** Gives all metrics. */
  readonly metrics: () => Promise<Omit<WatchAnswer, "status">>;
  /** Why the worker does not do its work; empty while it does. */
  readonly problems: () => readonly string[];
  readonly logger: Logger;
}

/**
 * A worker's own small listener: `/metrics` for who may see them, `/health` for everybody, nothing else. It reads no
 * body, and each request, its headers and the number of connections are bounded.
 */
export class WatchServer {
  readonly #options: WatchServerOptions;
  readonly #server: Server;

  private constructor(options: WatchServerOptions) {
    this.#options = options;
    this.#server = createServer(
      {
        maxHeaderSize: HEADERS_MAX_BYTES,
        requestTimeout: REQUEST_MAX_MS,
        headersTimeout: REQUEST_MAX_MS,
        keepAliveTimeout: REQUEST_MAX_MS,
        connectionsCheckingInterval: REQUEST_MAX_MS,
        insecureHTTPParser: false,
      },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** Listens where the configuration says; undefined where it says `off`. Throws `config_invalid` for a place that is taken. */
  static async open(options: WatchServerOptions): Promise<WatchServer | undefined> {
    const { config, logger } = options;
    const wanted = config.watching.workerListen;
    if (wanted === "off") return undefined;
    const opened = new WatchServer(options);
    try {
      await opened.#listen(wanted ?? USUAL_PLACE);
    } catch (error) {
      if (wanted !== undefined) throw cannotListen(wanted, error);
      await opened.#listenAnywhere();
    }
    const { address, port } = opened.#place();
    logger.info(
      `the worker's metrics are at http://${address.includes(":") ? `[${address}]` : address}:${port}/metrics`,
    );
    return opened;
  }

  /** Where to scrape; `address` is under what others reach this host, for a listener on all interfaces. */
  url(address: string): string {
    const { address: bound, port } = this.#place();
    const host = bound === "0.0.0.0" || bound === "::" ? address : bound;
    return `http://${host.includes(":") ? `[${host}]` : host}:${port}/metrics`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #place(): AddressInfo {
    const place = this.#server.address();
    if (place === null || typeof place === "string") throw new Error("the worker's metrics listen nowhere");
    return place;
  }

  #listen({ host, port }: WatchAddress): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host, port }, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
  }

  async #listenAnywhere(): Promise<void> {
    const { first, last } = this.#options.config.qemu.hostFwdRange;
    for (let tries = 1; ; tries++) {
      await this.#listen({ host: USUAL_PLACE.host, port: 0 });
      const { port } = this.#place();
      if (port < first || port > last || tries === FREE_PORT_TRIES) return;
      await this.close();
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: WatchAnswer;
    try {
      answer = await this.#answer(request);
    } catch (error) {
      this.#options.logger.error({ err: error }, "the worker's metrics could not be given");
      answer = plain(500, "the metrics could not be given; the worker's log says why");
    }
    response.writeHead(answer.status, {
      "content-type": answer.type,
      "content-length": Buffer.byteLength(answer.text),
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...(answer.status === 401 ? { "www-authenticate": 'Bearer realm="drover"' } : {}),
      ...(answer.status === 405 ? { allow: "GET" } : {}),
    });
    response.end(answer.text);
  }

  async #answer(request: IncomingMessage): Promise<WatchAnswer> {
    const path = (request.url ?? "").split("?", 1)[0];
    if (path !== "/metrics" && path !== "/health") return plain(404, "there is /metrics and /health");
    if (request.method !== "GET") return plain(405, "only GET is offered here");
    if (path === "/health") return this.#health();
    const refusal = await this.#refusal(request);
    return refusal ?? { status: 200, ...(await this.#options.metrics()) };
  }

  #health(): WatchAnswer {
    const problems = this.#options.problems();
    const text = `${JSON.stringify({ status: problems.length === 0 ? "pass" : "fail", problems })}\n`;
    return { status: problems.length === 0 ? 200 : 503, type: "application/health+json", text };
  }

  async #refusal({ headers, socket }: IncomingMessage): Promise<WatchAnswer | undefined> {
    const { workerListen, workerTokenFile } = this.#options.config.watching;
    if (workerTokenFile !== "") {
      const [, shown = ""] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? "") ?? [];
      return (await isTokenOf(workerTokenFile, shown)) ? undefined : plain(401, TOKEN_WANTED);
    }
    // Beyond loopback without a token the configuration has allowed everybody; else a web page might ask in a browser's
    // name under a name of its own, and a guest through its user network.
    const isOpen = workerListen !== undefined && workerListen !== "off" && !isLoopbackHost(workerListen.host);
    if (isOpen) return undefined;
    if (!isLoopbackHost(hostOf(headers.host ?? ""))) return plain(421, "ask for 127.0.0.1 or localhost");
    return isGuest(socket) ? plain(403, "guests get no metrics of their host") : undefined;
  }
}

const TOKEN_WANTED =
  "show the token of DROVER_WORKER_METRICS_TOKEN_FILE as `Authorization: Bearer ...`; the file must be readable for the worker and hold 16 characters or more";

/** Read anew each time, so that a token is changed without a restart. Without a file that can be read nobody gets in. */
async function isTokenOf(file: string, shown: string): Promise<boolean> {
  const token = await readFile(file, "utf8").catch(() => ""); // the refusal names the file
  if (token.trim().length < TOKEN_MIN_CHARS) return false;
  return timingSafeEqual(tokenDigest(token.trim()), tokenDigest(shown));
}

function hostOf(text: string): string {
  return text.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
}

function isGuest({ remoteAddress, remotePort, localPort }: Socket): boolean {
  if (remoteAddress === undefined || remotePort === undefined || localPort === undefined) return false; // closed by now
  return isGuestSocket({ remoteAddress, remotePort, localPort });
}

function plain(status: number, text: string): WatchAnswer {
  return { status, type: "text/plain; charset=utf-8", text: `${text}\n` };
}

function cannotListen({ host, port }: WatchAddress, cause: unknown): DroverError {
  const why = errnoOf(cause) === "EADDRINUSE" ? "is taken by another process" : `cannot be had (${errnoOf(cause)})`;
  return new DroverError(
    "config_invalid",
    `DROVER_WORKER_METRICS=${host}:${port} ${why}: choose another address, leave it empty for any free port, or set it to off`,
    { cause },
  );
}
