import { randomBytes, randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { DroverError } from "../contract/errors.ts";
import { readDurable, writeDurably } from "../qemu/durable-file.ts";
import { bootId } from "../runtime/process-identity.ts";

const HostFile = z.strictObject({ v: z.literal(1), hostId: z.string(), stateId: z.uuid() });

/** Becomes part of queue names and tokens. */
const HOST_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Who this worker is. `stateId` lives in the state directory: a wiped directory or a copied name is somebody else. */
export interface HostState extends AsyncDisposable {
  readonly hostId: string;
  readonly stateId: string;
  readonly bootId: string;
  readonly stateDir: string;
  /** Directory of all VMs: `<vms>/<vmId>/<epoch>/`. */
  readonly vmsDir: string;
  /** What every token of this host and state directory begins with. */
  readonly tokenPrefix: string;
  /** A new lock token: `hostId:stateId:bootId:random`. It belongs to a launch and is on disk before the launch begins. */
  newToken(): string;
}

/**
 * Opens the state directory for this worker alone. Throws `config_invalid` when another worker has it, when the
 * configured id is not the one that the directory was made for, or when it cannot be used.
 */
export async function openHostState({
  stateDir,
  instanceId,
}: {
  stateDir: string;
  instanceId: string;
}): Promise<HostState> {
  if (instanceId !== "" && !HOST_ID.test(instanceId)) {
    const rule = "may hold letters, digits and . _ - and at most 64 of them: it names queues and hosts";
    throw new DroverError("config_invalid", `MANAGER_INSTANCE_ID="${instanceId}" ${rule}`);
  }
  await mkdir(join(stateDir, "vms"), { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    const way = "make it writable for this user, or set DROVER_STATE_DIR";
    throw new DroverError("config_invalid", `the state directory ${stateDir} cannot be made: ${way}`, { cause });
  });
  const file = join(stateDir, "host.json");
  const known = await readDurable(file, HostFile);
  if (known !== undefined && instanceId !== "" && known.hostId !== instanceId) {
    throw new DroverError(
      "config_invalid",
      `MANAGER_INSTANCE_ID="${instanceId}", but ${stateDir} belongs to host "${known.hostId}": ` +
        "use the old id, or another DROVER_STATE_DIR for the new host",
    );
  }
  const host = known ?? { v: 1, hostId: instanceId || generatedHostId(), stateId: randomUUID() };
  const lock = await lockState(host.stateId, stateDir);
  if (known === undefined) await writeDurably(file, JSON.stringify(host));
  const boot = bootId();
  return {
    ...host,
    bootId: boot,
    stateDir,
    vmsDir: join(stateDir, "vms"),
    tokenPrefix: `${host.hostId}:${host.stateId}:`,
    newToken: () => `${host.hostId}:${host.stateId}:${boot}:${randomBytes(12).toString("hex")}`,
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => lock.close(resolve));
    },
  };
}

function generatedHostId(): string {
  const name = hostname()
    .replace(/[^A-Za-z0-9._-]/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "");
  return `${name.slice(0, 48) || "host"}-${randomBytes(3).toString("hex")}`;
}

/**
 * A listening socket in Linux's abstract namespace: the kernel gives it to one process of the machine and takes it back
 * when that one dies, however it dies. Nothing is left on disk that could be stale.
 */
async function lockState(stateId: string, stateDir: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EADDRINUSE") return reject(error);
      const way = "stop it first, or give this worker a DROVER_STATE_DIR of its own";
      reject(
        new DroverError("config_invalid", `another worker runs with the state directory ${stateDir}: ${way}`, {
          cause: error,
        }),
      );
    });
    server.listen(`\0drover-worker-${stateId}`, resolve);
  });
  server.unref();
  return server;
}
