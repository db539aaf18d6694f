import { writeFile } from "node:fs/promises";
import { execa } from "execa";

const ANSWER_MS = 5_000;

/**
 * Keeps this process and all that it starts from leaving its memory on disk: the size of a core dump is limited to 0,
 * and for a collector that does not heed the limit no memory is put into the dump (core(5)). Both are inherited, also
 * through sudo. Gives what could not be done, in words; undefined when all was.
 */
export async function forbidCoreDumps(): Promise<string | undefined> {
  const failures = await Promise.all([
    writeFile("/proc/self/coredump_filter", "0").then(
      () => undefined,
      (error: Error) => error.message,
    ),
    execa("prlimit", ["--pid", String(process.pid), "--core=0:0"], {
      stdin: "ignore",
      reject: false,
      timeout: ANSWER_MS,
    }).then((result) => (result.failed ? result.shortMessage : undefined)),
  ]);
  const told = failures.filter((failure) => failure !== undefined);
  return told.length === 0 ? undefined : told.join("; ");
}
