import { chmod, link, open, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import type { SystemUser } from "../runtime/system-user.ts";
import { fileFailure } from "./file-failure.ts";
import type { VmPaths } from "./vm-paths.ts";

/** Sockets that listen already, to be inherited by QEMU. Closing gives back our copy; QEMU's stays. */
export interface MonitorSockets {
  /** In the order of `-chardev` qmp0, qmp1. */
  readonly fds: readonly [number, number];
  close(): void;
}

/**
 * Makes both monitor sockets of a launch and listens on them, in place of a QEMU that may not write in the directory.
 * Mode 0600: only the worker can connect, no other VM's QEMU. Throws LaunchFailure (`state_dir_unusable`, ...).
 */
export async function openMonitorSockets({ dir, qmpSocket, qmpRescueSocket }: VmPaths): Promise<MonitorSockets> {
  const servers: Server[] = [];
  try {
    for (const path of [qmpSocket, qmpRescueSocket]) servers.push(await listenAt(path, join(dir, "passing.sock")));
    const [first, second] = servers.map(descriptorOf);
    if (first === undefined || second === undefined) throw new Error("a listening socket has no descriptor");
    return { fds: [first, second], close: () => closeAll(servers) };
  } catch (error) {
    closeAll(servers);
    throw fileFailure(error, "QEMU's monitor sockets could not be made");
  }
}

/** An empty file that QEMU's user may write. Throws LaunchFailure. */
export async function makePidFile({ pidFile }: VmPaths, { uid, gid }: SystemUser): Promise<void> {
  try {
    await rm(pidFile, { force: true }); // of a QEMU that was started before on another port
    const file = await open(pidFile, "wx", 0o600);
    try {
      await file.chown(uid, gid);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileFailure(error, "QEMU's pid file could not be made");
  }
}

/** Node deletes the path of a server that it closes, so the one that lasts is a second link to the socket. */
async function listenAt(path: string, passing: string): Promise<Server> {
  await Promise.all([rm(path, { force: true }), rm(passing, { force: true })]);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(passing, resolve);
  });
  try {
    await chmod(passing, 0o600);
    await link(passing, path);
    await rm(passing);
  } catch (error) {
    server.close();
    throw error;
  }
  return server;
}

/** Node hands a listening socket only to its own kind of child, but the descriptor is there (Node 20 to 24). */
function descriptorOf(server: Server): number | undefined {
  const { _handle: handle } = server as Server & { readonly _handle?: { readonly fd?: number } }; // not in its types
  return handle?.fd;
}

function closeAll(servers: readonly Server[]): void {
  for (const server of servers) server.close();
}
