import { readFileSync } from "node:fs";
import { errnoOf } from "./errno.ts";

/**
 * Who a process is. A pid alone may come to name a stranger; together with the start time (clock ticks since boot,
 * field 22 of /proc/<pid>/stat, see proc(5)) and the boot id it does not.
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTimeTicks: number;
}

interface ProcessStatus {
  /** One letter of proc(5): R, S, D, T, Z, ... */
  readonly state: string;
  readonly startTimeTicks: number;
  readonly threads: number;
}

/** Start time of a process in clock ticks since boot, or undefined when there is none with this pid. */
export function readStartTime(pid: number): number | undefined {
  const status = readStatus(pid);
  return status === "unreadable" ? undefined : status?.startTimeTicks;
}

/**
 * True while exactly this process exists. A zombie is dead: it holds nothing any more, except while other threads of it
 * are still on their way out (the first thread becomes a zombie before them, and a killed QEMU or Node would still hold
 * its sockets). A process that we may not see or signal is not dead (Cocos takes EPERM for death and forgets live VMs).
 */
export function isAlive({ pid, startTimeTicks }: ProcessIdentity): boolean {
  const status = readStatus(pid);
  if (status === "unreadable") return exists(pid);
  if (status === undefined) return isHidden(pid);
  const isDead = status.state === "X" || (status.state === "Z" && status.threads <= 1);
  return status.startTimeTicks === startTimeTicks && !isDead;
}

/** True when the process exists and is stopped (SIGSTOP, a debugger): it answers nobody and only SIGKILL ends it. */
export function isStopped({ pid, startTimeTicks }: ProcessIdentity): boolean {
  const status = readStatus(pid);
  if (status === undefined || status === "unreadable") return false;
  return status.startTimeTicks === startTimeTicks && (status.state === "T" || status.state === "t");
}

/** Random for every boot of the machine; pids and start times mean nothing across it. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/**
 * Sends a signal to exactly this process. False when it is dead, so nothing was sent. Nothing else of this program
 * runs between check and signal, which leaves microseconds for the pid to be reused (Node has no pidfd).
 * Throws EPERM when the process is not ours to signal.
 */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ESRCH") return false;
    throw error;
  }
}

/** Undefined: gone, or not for our eyes. Unreadable (no descriptor is left, say): that tells nothing of the process. */
function readStatus(pid: number): ProcessStatus | undefined | "unreadable" {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch (error) {
    const code = errnoOf(error);
    return code === "ENOENT" || code === "ESRCH" || code === "EACCES" ? undefined : "unreadable";
  }
  // The second field is the program's name in brackets and may itself hold blanks and brackets.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const state = fields[0];
  const startTimeTicks = Number(fields[19]);
  const threads = Number(fields[17]);
  return state === undefined || Number.isNaN(startTimeTicks) ? undefined : { state, startTimeTicks, threads };
}

/** Whether some process has this pid. Rather a stranger taken for alive for a moment than a live VM for dead. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === "EPERM";
  }
}

/** /proc may hide the processes of others (hidepid); the kernel still says EPERM for them. */
function isHidden(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false; // ours, so /proc would have shown it: it has gone or come in between
  } catch (error) {
    return errnoOf(error) === "EPERM";
  }
}
