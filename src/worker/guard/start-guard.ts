import { open, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { DroverError } from "../../contract/errors.ts";
import { readTail } from "../../qemu/bounded-file.ts";
import { childEnvironment } from "../../qemu/qemu-process.ts";
import { waitUntil } from "../../runtime/bounded-wait.ts";
import { startDetached } from "../../runtime/detached-process.ts";
import { endProcess } from "../../runtime/end-process.ts";
import { isStopped } from "../../runtime/process-identity.ts";
import {
  answeringGuard,
  findGuards,
  GUARD_LOCKED_EXIT_CODE,
  GUARD_VERSION,
  type GuardProcess,
  guardArguments,
} from "./guard-identity.ts";
import { guardFiles, makeGuardDirectory, readOrder } from "./guard-order.ts";

const GREETING_MS = 2_000;
/** It needs 60 ms; a machine that has just started a hundred VMs takes its time. */
const START_MS = 20_000;
const LOOK_MS = 20;
const TERM_MS = 1_000;
const OUTPUT_SHOWN_BYTES = 1_000;

export interface GuardPlace {
  readonly stateDir: string;
  readonly stateId: string;
  /** The guard's program; beside this module when left out. */
  readonly entry?: string;
}

/**
 * The guard of the state directory: the one that runs, or a new one. A guard that does not answer (stopped by a signal)
 * or is of another version is ended first.
 * Throws DroverError `internal_error` when there is none that answers within 20 s.
 */
export async function ensureGuard(place: GuardPlace): Promise<GuardProcess> {
  const present = await presentGuard(place.stateId);
  if (present?.version === GUARD_VERSION) return present;
  try {
    await endGuards(place.stateId);
    await makeGuardDirectory(place.stateDir);
    await forgetDismissal(place.stateDir);
    return await startGuard(place);
  } catch (error) {
    if (error instanceof DroverError) throw error;
    throw failed(error instanceof Error ? error.message : String(error), error);
  }
}

/** The guard that answers; one that is just starting is waited for. */
async function presentGuard(stateId: string): Promise<GuardProcess | undefined> {
  let guard: GuardProcess | undefined;
  const isDecided = async () => {
    if (findGuards(stateId).every(isStopped)) return true; // also when there is none
    guard = await answeringGuard(stateId, GREETING_MS);
    return guard !== undefined;
  };
  await waitUntil(isDecided, { timeoutMs: GREETING_MS, intervalMs: LOOK_MS });
  return guard;
}

/** An order to go was meant for the guard before; a new one would go by it, too. */
async function forgetDismissal(stateDir: string): Promise<void> {
  const order = await readOrder(stateDir).catch(() => undefined);
  if (order?.deadlineUptimeMs === null) await rm(guardFiles(stateDir).order, { force: true });
}

/** Ends every guard of the state directory. VMs stay as they are. */
export async function endGuards(stateId: string): Promise<void> {
  await Promise.all(findGuards(stateId).map((guard) => endProcess(guard, { termMs: isStopped(guard) ? 0 : TERM_MS })));
}

async function startGuard({ stateDir, stateId, entry = besideUs() }: GuardPlace): Promise<GuardProcess> {
  const output = guardFiles(stateDir).output;
  const file = await open(output, "w", 0o600);
  let over: string | undefined;
  try {
    const { ended } = startDetached({
      file: process.execPath,
      args: [...loaderFor(entry), entry, ...guardArguments({ stateDir, stateId })],
      env: childEnvironment(),
      outputFd: file.fd,
    });
    // One that finds the lock taken goes again: then another worker's start has won, and its guard answers.
    void ended.then(({ exitCode, message }) => {
      if (exitCode !== GUARD_LOCKED_EXIT_CODE) over = message === "" ? `it ended with code ${exitCode}` : message;
    });
  } finally {
    await file.close();
  }
  let guard: GuardProcess | undefined;
  await waitUntil(
    async () => {
      guard = await answeringGuard(stateId, GREETING_MS);
      return guard !== undefined || over !== undefined;
    },
    { timeoutMs: START_MS, intervalMs: LOOK_MS },
  );
  if (guard !== undefined) return guard;
  const said = (await readTail(output, OUTPUT_SHOWN_BYTES)).toString("utf8").trim();
  throw failed(`${over ?? `it did not answer within ${START_MS / 1_000} s`}${said === "" ? "" : `; it said: ${said}`}`);
}

function failed(why: string, cause?: unknown): DroverError {
  return new DroverError(
    "internal_error",
    `the guard of this host could not be started: ${why}. Without it a dead worker's VMs could run twice; ` +
      "with DROVER_HOST_LOST=hold no guard is needed",
    { cause },
  );
}

function besideUs(): string {
  const ownName = fileURLToPath(import.meta.url);
  return fileURLToPath(new URL(ownName.endsWith(".ts") ? "./guard-main.ts" : "./guard-main.js", import.meta.url));
}

/** From the source (tests, development) Node needs the loader that runs us, too. */
function loaderFor(entry: string): readonly string[] {
  if (!entry.endsWith(".ts")) return [];
  return ["--import", pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href];
}
