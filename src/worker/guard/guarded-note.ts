import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "../../runtime/errno.ts";

/** The guard's word that it ended a launch. A note that cannot be read says that much and no more. */
export interface GuardedNote {
  readonly atMs?: number;
  readonly deadlineUptimeMs?: number;
}

/** Where the note of a launch stands: `VmPaths.guarded`. */
export function guardedNotePath(launch: { stateDir: string; uuid: string; epoch: number }): string {
  return join(launch.stateDir, "vms", launch.uuid, String(launch.epoch), "guarded.json");
}

/** Throws when the directory of the launch is gone already: none is made for a note. */
export async function writeGuardedNote(path: string, note: Required<GuardedNote>): Promise<void> {
  await writeFile(path, JSON.stringify({ v: 1, ...note }), { mode: 0o600 });
}

/**
 * The guard's note of a launch, or undefined when it left none. It is written before the kill, so it says why a QEMU
 * is gone, and nothing while one lives: whoever takes a living one over deletes it.
 * Throws the system's own errors.
 */
export async function readGuardedNote(path: string): Promise<GuardedNote | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    const { atMs, deadlineUptimeMs } = typeof value === "object" && value !== null ? (value as GuardedNote) : {};
    return {
      ...(typeof atMs === "number" && { atMs }),
      ...(typeof deadlineUptimeMs === "number" && { deadlineUptimeMs }),
    };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

/** For a launch that was taken over alive. */
export async function forgetGuardedNote(path: string): Promise<void> {
  await rm(path, { force: true });
}
