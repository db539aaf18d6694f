import { once } from "node:events";
import { type AddressInfo, createServer, type Server as NetServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { type Server, ServerCredentials } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { TIME_UP, within } from "../../runtime/bounded-wait.ts";
import type { ListenerConfig } from "../../runtime/config-shape.ts";
import type { ListenerTls } from "../../runtime/tls/listener-tls.ts";

/** Open connections at most. grpc-js has no bound of its own; a client needs one connection for all its calls. */
const CONNECTIONS_MAX = 1_000;
/** Node waits two minutes for a handshake; until it is done no other limit counts. */
const HANDSHAKE_MAX_MS = 10_000;
/** Calls under way may take this long to end once the server is closing; Cocos's manager waits as long. */
const CLOSE_GRACE_MS = 5_000;

interface GrpcListenerOptions {
  readonly config: ListenerConfig;
  readonly tls: ListenerTls | undefined;
  readonly logger: Logger;
}

/**
 * The socket of the gRPC server. It is Node's own, TLS included, and hands accepted connections to grpc-js: so it has
 * the same certificates, reloading and errors as the HTTP listener, and a bound on connections.
 */
export class GrpcListener {
  readonly #server: Server;
  readonly #listener: NetServer;
  readonly #sockets: Set<Socket>;
  #closed: Promise<void> | undefined;

  private constructor(server: Server, listener: NetServer, sockets: Set<Socket>) {
    this.#server = server;
    this.#listener = listener;
    this.#sockets = sockets;
  }

  /** Listens. Throws the system's error (EADDRINUSE, EADDRNOTAVAIL, ...) with `address` and `port` in it. */
  static async open(server: Server, { config, tls, logger }: GrpcListenerOptions): Promise<GrpcListener> {
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    const sockets = new Set<Socket>();
    const accept = (socket: Socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      socket.on("error", () => socket.destroy()); // a connection that broke has nobody to be told
      socket.setNoDelay(true);
      injector.injectConnection(socket);
    };
    const listener = tls === undefined ? createServer(accept) : tlsListener(tls, accept);
    listener.maxConnections = CONNECTIONS_MAX;
    listener.listen(config.port, config.host);
    await once(listener, "listening");
    listener.on("error", (error) => logger.warn({ err: error }, "a gRPC connection could not be accepted"));
    return new GrpcListener(server, listener, sockets);
  }

  /** `host:port` for clients. */
  get address(): string {
    const { address, family, port } = this.#listener.address() as AddressInfo; // it listens at a port
    return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
  }

  /** Accepts nothing more, lets calls end for a bounded time, cuts the rest. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#listener.close();
    const ended = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    // Since Node 24 closing a server closes its sessions, too, so that grpc-js takes those for ended that still answer.
    const speaking = [...this.#sockets].filter(({ bytesRead }) => bytesRead > 0);
    const gone = speaking.map((socket) => new Promise<void>((resolve) => socket.once("close", () => resolve())));
    if ((await within(Promise.all([ended, ...gone]), CLOSE_GRACE_MS)) === TIME_UP) this.#server.forceShutdown();
    for (const socket of this.#sockets) socket.destroy();
  }
}

function tlsListener(tls: ListenerTls, accept: (socket: Socket) => void): NetServer {
  const protocols = { ALPNProtocols: ["h2"], handshakeTimeout: HANDSHAKE_MAX_MS };
  const listener = createTlsServer({ ...tls.context, ...protocols }, accept);
  listener.on("tlsClientError", (_error, socket) => socket.destroy()); // refused in the handshake, which has told why
  const stop = tls.onChange(() => listener.setSecureContext(tls.context));
  listener.once("close", stop);
  return listener;
}
