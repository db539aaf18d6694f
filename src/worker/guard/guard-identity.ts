import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { type ProcessIdentity, readStartTime } from "../../runtime/process-identity.ts";

/**
 * Of what the guard does and how it is told to; a guard of another version is replaced by the worker that finds it. To
 * be raised with every change of the order's format or of the guard's behaviour: a guard outlives its worker, and may be
 * older than the program that finds it.
 */
export const GUARD_VERSION = "1";
/** sysexits.h EX_TEMPFAIL: another guard has this state directory. */
export const GUARD_LOCKED_EXIT_CODE = 75;

/** The program, as the guard's command line names it: compiled, or from the source. */
const PROGRAM = /\/guard-main\.[jt]s$/;

export interface GuardProcess extends ProcessIdentity {
  readonly version: string;
}

/** In Linux's abstract namespace: held by the one guard of a state directory, gone with it. */
export function guardSocket(stateId: string): string {
  return `\0drover-guard-${stateId}`;
}

/** What stands behind the program's name on a guard's command line. */
export function guardArguments({ stateDir, stateId }: { stateDir: string; stateId: string }): readonly string[] {
  return [GUARD_VERSION, stateDir, stateId];
}

/** Every guard of a state directory that is a process, whether it answers or not. */
export function findGuards(stateId: string): readonly GuardProcess[] {
  const found: GuardProcess[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const args = readArguments(name);
    const at = args.findIndex((arg) => PROGRAM.test(arg));
    const version = args[at + 1];
    if (at === -1 || version === undefined || args[at + 3] !== stateId) continue;
    const startTimeTicks = readStartTime(Number(name));
    if (startTimeTicks !== undefined) found.push({ pid: Number(name), startTimeTicks, version });
  }
  return found;
}

/**
 * The guard that holds the lock and answers, within `timeoutMs`. The pid that it says is believed only when the process
 * is a guard of this state directory: names in the abstract namespace are free for everybody.
 */
export async function answeringGuard(stateId: string, timeoutMs: number): Promise<GuardProcess | undefined> {
  const pid = Number(await greeting(stateId, timeoutMs));
  return findGuards(stateId).find((guard) => guard.pid === pid);
}

function greeting(stateId: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(guardSocket(stateId));
    const timer = setTimeout(() => socket.destroy(), timeoutMs);
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      text += chunk;
      if (text.includes("\n") || text.length > 32) socket.destroy();
    });
    socket.on("error", () => undefined); // nobody listens: `close` follows
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(text.trim());
    });
  });
}

function readArguments(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return []; // it ended since the listing
  }
}
