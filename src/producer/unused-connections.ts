import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { Server as TlsServer } from "node:https";
import type { Socket } from "node:net";

/**
 * Gives a function that ends all connections on which no request is under way. Node's own `closeIdleConnections` spares
 * those that have not asked anything yet; browsers and fetch open such ones in advance, and each would hold up the end
 * of the server until its header timeout. So would those whose TLS handshake is not done.
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
  const endHandshakes = server instanceof TlsServer ? trackHandshakes(server) : () => undefined;
  return () => {
    endHandshakes();
    for (const [socket, requests] of underWay) if (requests === 0) socket.destroy();
  };
}

/** TLS wraps the socket of a connection in another one; both are at the same place of the peer. */
function trackHandshakes(server: TlsServer): () => void {
  const underWay = new Map<string, Socket>();
  const placeOf = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress} ${remotePort}`;
  server.on("connection", (socket: Socket) => {
    const place = placeOf(socket);
    underWay.set(place, socket);
    socket.once("close", () => {
      if (underWay.get(place) === socket) underWay.delete(place);
    });
  });
  server.on("secureConnection", (socket: Socket) => underWay.delete(placeOf(socket)));
  return () => {
    for (const socket of underWay.values()) socket.destroy();
  };
}
