import { Socket } from "node:net";
import type { FastifyReply } from "fastify";

/** Probes of the kernel find a peer that vanished without a word while nothing is sent. */
const TCP_KEEPALIVE_MS = 30_000;

/**
 * Lets the connection of an answer be silent: the server's own limit for idle connections must not cut a wait or an
 * open stream. Node sets the limit anew with the next request on the connection.
 */
export function allowSilence(reply: FastifyReply): void {
  const { socket } = reply.raw;
  if (!(socket instanceof Socket)) return; // a request that was injected has no connection
  socket.setTimeout(0);
  socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
}
