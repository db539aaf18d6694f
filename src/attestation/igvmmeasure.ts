import { resolve } from "node:path";
import { execa } from "execa";
import { Sha384Hex } from "../contract/attestation-record.ts";
import { errnoOf } from "../runtime/errno.ts";
import { PolicyInputError } from "./policy-file.ts";

/** It reads a file of some megabytes and computes a digest: seconds at most. */
const IGVMMEASURE_MAX_MS = 30_000;
const OUTPUT_MAX_BYTES = 64 * 1024;
const KILL_AFTER_MS = 2_000;
const SHOWN_MAX_CHARS = 200;
/** A measuring program needs nothing of the worker's own environment. */
const ENVIRONMENT = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

/** Where MANAGER_ATTESTATION_POLICY_BINARY_PATH says that igvmmeasure is; absolute. */
export function igvmmeasurePath(directory: string): string {
  return resolve(directory, "igvmmeasure");
}

/**
 * Runs igvmmeasure over an IGVM file and gives the launch measurement, 96 hex digits in lower case. Throws
 * {@link PolicyInputError} when it cannot be run, takes too long or says something else, and the signal's reason; no
 * process is left then.
 */
export async function runIgvmmeasure(
  { binary, igvmFile }: { readonly binary: string; readonly igvmFile: string },
  { signal, timeoutMs = IGVMMEASURE_MAX_MS }: { readonly signal: AbortSignal; readonly timeoutMs?: number },
): Promise<string> {
  signal.throwIfAborted();
  // An absolute path is no option of the program's, whatever the file is called.
  const result = await execa(binary, [resolve(igvmFile), "measure", "-b"], {
    stdin: "ignore",
    reject: false,
    maxBuffer: OUTPUT_MAX_BYTES,
    timeout: timeoutMs,
    cancelSignal: signal,
    forceKillAfterDelay: KILL_AFTER_MS,
    extendEnv: false,
    env: ENVIRONMENT,
  });
  signal.throwIfAborted();
  const errno = errnoOf(result);
  if (result.timedOut) throw new PolicyInputError(`${binary} was not done after ${timeoutMs} ms`);
  if (result.exitCode === undefined && errno !== undefined) {
    throw new PolicyInputError(
      `${binary} could not be started (${errno}): put igvmmeasure there, or mend MANAGER_ATTESTATION_POLICY_BINARY_PATH`,
    );
  }
  if (result.failed) {
    const how = result.signal === undefined ? `exit code ${result.exitCode}` : `ended by ${result.signal}`;
    throw new PolicyInputError(`${binary} failed (${how}): ${shown(result.stderr || result.stdout)}`);
  }
  const measurement = result.stdout.trim().toLowerCase();
  if (!Sha384Hex.safeParse(measurement).success)
    throw new PolicyInputError(`${binary} gave no measurement of 96 hex digits in one line: ${shown(result.stdout)}`);
  return measurement;
}

/** The beginning of what a program said, in one line. */
function shown(output: string): string {
  const line = output.trim().replace(/[^\x20-\x7e]+/g, " ");
  return line === "" ? "it said nothing" : JSON.stringify(line.slice(0, SHOWN_MAX_CHARS));
}
