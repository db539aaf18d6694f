import { execa } from "execa";
import { LaunchFailure } from "../contract/causes.ts";
import { errnoOf } from "../runtime/errno.ts";
import { classifyFailure } from "./classify-failure.ts";
import type { OperatorPaths } from "./failure-patterns.ts";
import { childEnvironment, withPrivateUmask } from "./qemu-process.ts";

/** What qemu-img says is a few lines; `info` of an image with many snapshots is the longest. */
const OUTPUT_MAX_BYTES = 4 * 1024 * 1024;
const KILL_AFTER_MS = 2_000;

export interface QemuImgRun {
  /** Path or name of the binary. */
  readonly qemuImgPath: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly operatorPaths: OperatorPaths;
}

/**
 * Runs qemu-img to its end and gives its stdout. File names in `args` must be absolute paths: qemu-img takes
 * `json:{...}` or `nbd:...` for something else than a file (a `:` before the first `/` makes a protocol).
 * Throws LaunchFailure (`qemu_missing`, `disk_source_missing`, `image_invalid`, `disk_full`, `disk_locked`, ...;
 * `internal` when the time is up) and the signal's reason; no process is left then.
 */
export async function runQemuImg(args: readonly string[], run: QemuImgRun): Promise<string> {
  run.signal.throwIfAborted();
  const child = withPrivateUmask(() =>
    execa(run.qemuImgPath, args, {
      stdin: "ignore",
      reject: false,
      maxBuffer: OUTPUT_MAX_BYTES,
      timeout: run.timeoutMs,
      cancelSignal: run.signal,
      forceKillAfterDelay: KILL_AFTER_MS,
      extendEnv: false,
      env: childEnvironment(),
    }),
  );
  const result = await child;
  run.signal.throwIfAborted();
  if (!result.failed) return result.stdout;
  const what = `qemu-img ${args[0] ?? ""}`;
  if (result.timedOut) throw new LaunchFailure("internal", `${what} was not done after ${run.timeoutMs} ms`);
  const errno = errnoOf(result);
  if (errno === "ENOENT" || errno === "EACCES") {
    throw new LaunchFailure("qemu_missing", `'${run.qemuImgPath}' could not be started (${errno})`, { cause: result });
  }
  const exit = { exitCode: result.exitCode ?? null, signal: result.signal ?? null };
  const cause = classifyFailure({ output: result.stderr, exit, phase: "start", operatorPaths: run.operatorPaths });
  throw new LaunchFailure(cause.code, `${what}: ${cause.message}`);
}
