import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** A connection on this machine, seen from our end. */
export interface LoopbackConnection {
  readonly remoteAddress: string;
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
const QEMUS_MS = 200;
let qemus: { readonly pids: readonly string[]; readonly readAtMs: number } | undefined;

/** A connection that stands in a table as old as this is taken from there; reading one takes the kernel 10 ms. */
const TABLE_MS = 1_000;
const tables = new Map<string, { readonly callers: ReadonlyMap<string, CallerSocket>; readonly readAtMs: number }>();

/**
 * Whether the caller's end of a loopback connection is a guest's: QEMU makes connections to this machine's loopback on
 * behalf of guests (libslirp). Looks into /proc/net/tcp for the socket and into /proc/<pid>/fd for whose it is; where
 * those are closed to us, a QEMU of the same user counts. False where nothing can be found out.
 */
export function isGuestSocket(connection: LoopbackConnection): boolean {
  const pids = userNetworkQemus();
  if (pids.length === 0) return false;
  const caller = callerOf(connection);
  if (caller === undefined) return false;
  return pids.some((pid) => {
    const held = heldSockets(pid);
    if (held !== undefined) return held.includes(`socket:[${caller.inode}]`);
    return /^Uid:\s+\d+\s+(\d+)/m.exec(readText(`/proc/${pid}/status`))?.[1] === caller.uid;
  });
}

function callerOf({ remoteAddress, remotePort, localPort }: LoopbackConnection): CallerSocket | undefined {
  // libslirp calls an IPv4 address by an IPv4 socket, which we may see as ::ffff:127.0.0.1.
  const path = remoteAddress.includes(".") ? "/proc/net/tcp" : "/proc/net/tcp6";
  const pair = `${hex(remotePort)} ${hex(localPort)}`;
  const nowMs = performance.now();
  const known = tables.get(path);
  const found = known === undefined || nowMs - known.readAtMs > TABLE_MS ? undefined : known.callers.get(pair);
  if (found !== undefined) return found;
  const callers = readCallers(path);
  tables.set(path, { callers, readAtMs: nowMs });
  return callers.get(pair);
}

/** By the ports of both ends. Columns as in proc(5): sl, local_address, rem_address, st, queues, timer, retrnsmt, uid, timeout, inode. */
function readCallers(path: string): ReadonlyMap<string, CallerSocket> {
  const callers = new Map<string, CallerSocket>();
  for (const line of readText(path).split("\n")) {
    const [, local = "", remote = "", , , , , uid = "", , inode = "0"] = line.trim().split(/\s+/);
    if (inode !== "0") callers.set(`${portIn(local)} ${portIn(remote)}`, { inode, uid });
  }
  return callers;
}

const portIn = (address: string): string => address.slice(address.lastIndexOf(":") + 1);
const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, "0");

function userNetworkQemus(): readonly string[] {
  const nowMs = performance.now();
  if (qemus !== undefined && nowMs - qemus.readAtMs < QEMUS_MS) return qemus.pids;
  const pids = readdirSync("/proc").filter(
    (name) => /^\d+$/.test(name) && readText(`/proc/${name}/cmdline`).includes(USER_NETWORK),
  );
  qemus = { pids, readAtMs: nowMs };
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
