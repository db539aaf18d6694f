import { readFile } from "node:fs/promises";
import { kill } from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";

/**
 * Names one process for ever: a pid alone is given to another process later, with its start time and the boot it
 * belongs to it is not.
 */
export const ProcessIdentity = z.strictObject({ pid: z.int().positive(), startTicks: z.string(), bootId: z.string() });
export type ProcessIdentity = z.infer<typeof ProcessIdentity>;

const POLL_MS = 20;

/** The identity of a process that lives now; undefined when there is none, or only its unread exit code. */
export async function identifyProcess(pid: number): Promise<ProcessIdentity | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined; // no such process
  }
  // The name in parentheses may hold blanks and parentheses itself, so fields count from the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const state = fields[0];
  const startTicks = fields[19];
  if (startTicks === undefined || state === "Z" || state === "X") return undefined;
  const bootId = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
  return { pid, startTicks, bootId: bootId.trim() };
}

/** Whether this very process still lives. */
export async function isSameProcess(known: ProcessIdentity): Promise<boolean> {
  const now = await identifyProcess(known.pid);
  return now?.startTicks === known.startTicks && now.bootId === known.bootId;
}

/** SIGTERM, then SIGKILL to what has not ended in time. Returns when the process is gone; never signals another one. */
export async function endProcess(
  known: ProcessIdentity,
  { termMs, killMs }: { termMs: number; killMs: number },
): Promise<void> {
  for (const [signal, waitMs] of [
    ["SIGTERM", termMs],
    ["SIGKILL", killMs],
  ] as const) {
    if (!(await isSameProcess(known))) return;
    try {
      kill(known.pid, signal);
    } catch (error) {
      if (!(await isSameProcess(known))) return;
      throw error; // it lives and may not be signalled: it belongs to another user
    }
    for (const deadline = Date.now() + waitMs; Date.now() < deadline; ) {
      if (!(await isSameProcess(known))) return;
      await delay(POLL_MS);
    }
  }
  throw new Error(`process ${known.pid} did not end`);
}
