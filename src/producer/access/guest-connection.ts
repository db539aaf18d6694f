import { isGuestSocket, type PortPair } from "../../runtime/guest-socket.ts";

/** A connection, or what is known of it; its ports are undefined once it is closed. */
type Connection = { readonly [K in keyof PortPair]?: PortPair[K] | undefined };

const known = new WeakMap<Connection, boolean>();

/** Whether a guest made this connection. Found out once: a connection does not change hands. */
export function isGuestConnection(connection: Connection): boolean {
  const { remotePort, localPort } = connection;
  if (remotePort === undefined || localPort === undefined) return false; // closed: nobody hears the answer
  const before = known.get(connection);
  if (before !== undefined) return before;
  const isGuest = isGuestSocket({ remotePort, localPort });
  known.set(connection, isGuest);
  return isGuest;
}
