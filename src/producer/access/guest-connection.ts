import { Socket } from "node:net";
import { isGuestSocket, type LoopbackConnection } from "../../runtime/guest-socket.ts";

/** So long an answer counts for a pair of ports: no other caller gets the same pair so soon. */
const KNOWN_MS = 1_000;
const KNOWN_MAX = 1_000;

/** What is known of a connection: nothing once it is closed. */
type Connection = { readonly [K in keyof LoopbackConnection]?: LoopbackConnection[K] | undefined };

const known = new Map<string, { readonly isGuest: boolean; readonly askedAtMs: number }>();

/** Whoever has made a connection has made it: the answer is asked once. It costs a look at every file of every QEMU. */
const bySocket = new WeakMap<Socket, boolean>();

/** Whether a guest made this connection. */
export function isGuestConnection(connection: Connection): boolean {
  if (!(connection instanceof Socket)) return isGuestPair(connection);
  const before = bySocket.get(connection);
  if (before !== undefined) return before;
  const isGuest = isGuestPair(connection);
  bySocket.set(connection, isGuest);
  return isGuest;
}

/** The same for who knows no more of a connection than its ends. */
function isGuestPair({ remoteAddress, remotePort, localPort }: Connection): boolean {
  if (remoteAddress === undefined || remotePort === undefined || localPort === undefined) return false; // closed: nobody hears the answer
  const key = `${remotePort} ${localPort}`;
  const nowMs = performance.now();
  const before = known.get(key);
  if (before !== undefined && nowMs - before.askedAtMs < KNOWN_MS) return before.isGuest;
  const isGuest = isGuestSocket({ remoteAddress, remotePort, localPort });
  if (known.size >= KNOWN_MAX) known.clear();
  known.set(key, { isGuest, askedAtMs: nowMs });
  return isGuest;
}
