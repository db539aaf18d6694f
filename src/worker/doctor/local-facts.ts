import { readdir } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { z } from "zod";
import { DamagedFile, readDurable } from "../../qemu/durable-file.ts";
import { findLaunchesOf } from "../../qemu/process-scan.ts";
import { listVmDirectories } from "../../qemu/vm-directory.ts";
import { vmPaths } from "../../qemu/vm-paths.ts";
import type { Config } from "../../runtime/config-shape.ts";
import { errnoOf } from "../../runtime/errno.ts";
import { bootId } from "../../runtime/process-identity.ts";
import { answeringGuard } from "../guard/guard-identity.ts";
import { NewerRecord, parseLocalRecord, StoredRecord } from "../local-record.ts";
import type { ComparisonFacts, LocalLaunch } from "./compare.ts";

/** Any version's file: doctor reads it beside workers of other versions. */
const HostFile = z.looseObject({ hostId: z.string(), stateId: z.string() });
const GUARD_ANSWER_MS = 1_000;
const READ_AT_ONCE = 32;

export type LocalFacts = Omit<ComparisonFacts, "queue">;

/**
 * What of VMs is on this machine; undefined when no worker has ever used the state directory. Takes no lock: a worker
 * may live beside us, and what changes meanwhile is seen as it was at one moment or another.
 * Throws DamagedFile when nobody can say whose the directory is, and the system's own errors.
 */
export async function readLocalFacts({ stateDir, hostLost }: Config): Promise<LocalFacts | undefined> {
  const host = await readDurable(join(stateDir, "host.json"), HostFile);
  if (host === undefined) return undefined;
  const { hostId, stateId } = host;
  // Directories last: a launch has its directory before its process, and ends its process before its directory.
  const processes = findLaunchesOf(stateDir).map(({ uuid, epoch, pid, startTimeTicks }) => ({
    vmId: uuid,
    epoch,
    pid,
    startTimeTicks,
  }));
  return {
    host: { hostId, stateId, bootId: bootId() },
    workerLives: await isWorkerAlive(stateId),
    processes,
    launches: await readLaunches(stateDir),
    quarantined: await namesIn(join(stateDir, "quarantine")),
    guard: {
      wanted: hostLost.policy === "rerun",
      lives: (await answeringGuard(stateId, GUARD_ANSWER_MS)) !== undefined,
    },
  };
}

/** Whether a worker holds the lock of the state directory (see `host-state.ts`). */
function isWorkerAlive(stateId: string): Promise<boolean> {
  return isListening(`\0drover-worker-${stateId}`);
}

async function readLaunches(stateDir: string): Promise<readonly LocalLaunch[]> {
  const directories = await listVmDirectories(stateDir);
  const launches: LocalLaunch[] = [];
  for (let at = 0; at < directories.length; at += READ_AT_ONCE) {
    const some = directories.slice(at, at + READ_AT_ONCE).map(async ({ vmId, epoch }) => {
      return { vmId, epoch, ...(await readRecord(vmPaths({ stateDir, vmId, epoch }).record)) };
    });
    launches.push(...(await Promise.all(some)));
  }
  return launches;
}

async function readRecord(path: string): Promise<Pick<LocalLaunch, "record" | "port">> {
  try {
    const stored = await readDurable(path, StoredRecord);
    if (stored === undefined) return { record: "none", port: null };
    return { record: "good", port: parseLocalRecord(stored, path).port };
  } catch (error) {
    if (error instanceof NewerRecord) return { record: "newer", port: null };
    if (error instanceof DamagedFile) return { record: "damaged", port: null };
    throw error;
  }
}

function isListening(name: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(name);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}
