import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { Server as TlsServer } from "node:https";
import type { Socket } from "node:net";

/**
 * Gives a function that ends all connections on which no request is under way. Node's own `closeIdleConnections` spares
 * those that have not asked anything yet; browsers and fetch open such ones in advance, and each would hold up the end
 * of the server until its header timeout.
 */
export function trackConnections(server: Server): () => void {
  const underWay = new Map<Socket, number>(); // requests on each connection: a client may send several in a row
  const count = (socket: Socket, change: number) => {
    const before = underWay.get(socket);
    if (before !== undefined) underWay.set(socket, before + change);
  };
  server.on(server instanceof TlsServer ? "secureConnection" : "connection", (socket: Socket) => {
    underWay.set(socket, 0);
    socket.once("close", () => underWay.delete(socket));
  });
  server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    count(socket, 1);
    response.once("close", () => count(socket, -1));
  });
  return () => {
    for (const [socket, requests] of underWay) if (requests === 0) socket.destroy();
  };
}
