import { readFileSync } from "node:fs";
import { LaunchFailure } from "../contract/causes.ts";
import { waitUntil } from "../runtime/bounded-wait.ts";
import { findProgram } from "../runtime/find-program.ts";
import { isAlive } from "../runtime/process-identity.ts";
import { launchCgroup, wasOutOfMemory } from "./cgroup-memory.ts";
import { type Confinement, confinedCommand, OWN_RIGHTS } from "./confinement.ts";
import { DeathWatch } from "./death-watch.ts";
import { withInheritedMonitors } from "./drover-args.ts";
import type { Limiter } from "./limiter.ts";
import { makePidFile, openMonitorSockets } from "./monitor-sockets.ts";
import { findByPidFile } from "./process-scan.ts";
import { childEnvironment, type QemuProcess, spawnQemu } from "./qemu-process.ts";
import type { VmPaths } from "./vm-paths.ts";

/** The first descriptor that a child may inherit beside stdin, stdout and stderr. */
const FIRST_FD = 3;
/** sudo needs 10 ms; one that asks a directory service may need seconds. */
const SUDO_MS = 20_000;
const LOOK_MS = 5;

export interface ConfinedStart {
  readonly binPath: string;
  readonly args: readonly string[];
  readonly paths: VmPaths;
  readonly cwd: string;
  readonly confinement?: Confinement;
  readonly limiter?: Limiter;
}

/**
 * Starts QEMU with the rights that this host gives it. The process that comes back is QEMU's own, whoever started it.
 * Throws as `spawnQemu` does, and LaunchFailure `privileges_missing` when sudo hangs.
 */
export async function startConfined(start: ConfinedStart): Promise<QemuProcess> {
  const { limiter } = start;
  limiter?.sweep();
  const qemu = await startAs(start);
  const cgroup = launchCgroup(qemu.pid);
  const exited = qemu.exited.then((facts) => {
    const end = wasOutOfMemory(cgroup) ? { ...facts, outOfMemory: true as const } : facts;
    limiter?.sweep();
    return end;
  });
  return { ...qemu, exited };
}

async function startAs(start: ConfinedStart): Promise<QemuProcess> {
  const { binPath, args, cwd, paths, confinement = OWN_RIGHTS, limiter } = start;
  const place = { cwd, logPath: paths.qemuLog, onPid: (pid: number) => limiter?.enter(pid, paths) };
  const limited = (command: readonly string[]) => {
    const [file = "", ...rest] = limiter?.wrap(command, paths) ?? command;
    return { binPath: file, args: rest, ...place };
  };
  if (confinement.kind === "own" && limiter?.wraps !== true) return spawnQemu({ binPath, args, ...place });
  // Looked up here: whoever stands between us and QEMU has a search path and error texts of its own.
  const program = findProgram(binPath, childEnvironment()["PATH"] ?? "");
  if (program === undefined) throw new LaunchFailure("qemu_missing", `'${binPath}' is not there or may not be run`);
  if (confinement.kind === "sudo") {
    return behindSudo(await spawnQemu(limited(confinedCommand(confinement, [program, ...args]))), paths);
  }
  if (confinement.kind === "own") return spawnQemu(limited([program, ...args]));
  await makePidFile(paths, confinement.user);
  const sockets = await openMonitorSockets(paths);
  try {
    const monitors = [paths.qmpSocket, paths.qmpRescueSocket].map((path, index) => ({ path, fd: FIRST_FD + index }));
    const command = confinedCommand(confinement, [program, ...withInheritedMonitors(args, monitors)]);
    return await spawnQemu({ ...limited(command), inherit: sockets.fds });
  } finally {
    sockets.close();
  }
}

/**
 * QEMU is sudo's child, and sudo, which is root's, ends as QEMU does. It is ours from the moment in which it has our
 * user; before, it could not be signalled. A sudo that ends without it is given back as what it is: an end.
 */
async function behindSudo(sudo: QemuProcess, { pidFile }: VmPaths): Promise<QemuProcess> {
  let isOver = false;
  void sudo.exited.then(() => {
    isOver = true;
  });
  let found: { pid: number; startTimeTicks: number } | undefined;
  const look = () => {
    found = findByPidFile(pidFile).find(({ pid }) => isOurs(pid));
    return found !== undefined || isOver;
  };
  const decided = await waitUntil(look, { timeoutMs: SUDO_MS, intervalMs: LOOK_MS });
  if (!decided) {
    throw new LaunchFailure("privileges_missing", `sudo (process ${sudo.pid}) did not start QEMU within ${SUDO_MS} ms`);
  }
  if (found === undefined) return sudo;
  const qemu = found;
  // A sudo that somebody killed says nothing about its child.
  const exited = sudo.exited.then((facts) => (isAlive(qemu) ? new DeathWatch(qemu).dead : facts));
  return { ...qemu, exited };
}

function isOurs(pid: number): boolean {
  try {
    const [, , effective] = /^Uid:\s+(\d+)\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1")) ?? [];
    return Number(effective) === process.getuid?.();
  } catch {
    return false; // it ended since
  }
}
