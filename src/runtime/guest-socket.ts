import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** The two ports of a connection on this machine: the caller's and ours. */
export interface PortPair {
  readonly remotePort: number;
  readonly localPort: number;
}

/** What /proc/net says of the caller's end. */
interface CallerSocket {
  readonly inode: string;
  readonly uid: string;
}

/** QEMU's user network, which a guest reaches the loopback of this machine through (as 10.0.2.2). */
const USER_NETWORK = "\0-netdev\0user,";

/** The process table is read this often at most, however many callers there are; no guest boots in so short a time. */
const TABLE_MS = 200;
let table: { readonly pids: readonly string[]; readonly readAtMs: number } | undefined;

/**
 * Whether the caller's end of a loopback connection is a guest's: QEMU makes connections to this machine's loopback on
 * behalf of guests (libslirp). Looks into /proc/net/tcp for the socket and into /proc/<pid>/fd for whose it is; where
 * those are closed to us, a QEMU of the same user counts. False where nothing can be found out.
 */
export function isGuestSocket(ports: PortPair): boolean {
  const qemus = userNetworkQemus();
  if (qemus.length === 0) return false;
  const sockets = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((path) => callersIn(readText(path), ports));
  if (sockets.length === 0) return false;
  return qemus.some((pid) => {
    const held = heldSockets(pid);
    if (held !== undefined) return sockets.some(({ inode }) => held.includes(`socket:[${inode}]`));
    const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(readText(`/proc/${pid}/status`))?.[1];
    return sockets.some((socket) => socket.uid === uid);
  });
}

/** Columns as in proc(5): sl, local_address, rem_address, st, queues, timer, retrnsmt, uid, timeout, inode. */
function callersIn(text: string, { remotePort, localPort }: PortPair): CallerSocket[] {
  const [from, to] = [remotePort, localPort].map((port) => `:${port.toString(16).toUpperCase().padStart(4, "0")}`);
  return text.split("\n").flatMap((line) => {
    const [, local = "", remote = "", , , , , uid = "", , inode = "0"] = line.trim().split(/\s+/);
    return local.endsWith(from ?? "") && remote.endsWith(to ?? "") && inode !== "0" ? [{ inode, uid }] : [];
  });
}

function userNetworkQemus(): readonly string[] {
  const nowMs = performance.now();
  if (table !== undefined && nowMs - table.readAtMs < TABLE_MS) return table.pids;
  const pids = readdirSync("/proc").filter(
    (name) => /^\d+$/.test(name) && readText(`/proc/${name}/cmdline`).includes(USER_NETWORK),
  );
  table = { pids, readAtMs: nowMs };
  return pids;
}

/** Undefined where we may not look. */
function heldSockets(pid: string): readonly string[] | undefined {
  let names: string[];
  try {
    names = readdirSync(`/proc/${pid}/fd`);
  } catch {
    return undefined;
  }
  return names.flatMap((name) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${name}`);
    } catch {
      return []; // closed since
    }
  });
}

/** Empty where it cannot be read. */
function readText(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
