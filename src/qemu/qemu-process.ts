import { constants } from "node:fs";
import { type FileHandle, open, writeFile } from "node:fs/promises";
import { isAbsolute, resolve } from "node:path";
import { execa } from "execa";
import { type CauseCode, LaunchFailure } from "../contract/causes.ts";
import { errnoOf } from "../runtime/errno.ts";
import { type ProcessIdentity, readStartTime } from "../runtime/process-identity.ts";
import { fileFailure } from "./file-failure.ts";

/** How a process ended, as far as anybody knows: for one that is not our child both are null. */
export interface ExitFacts {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** The kernel killed it because it met the limit of its memory. */
  readonly outOfMemory?: true;
}

export interface QemuProcess extends ProcessIdentity {
  /** Settles, never rejects, once the process has ended and was reaped. */
  readonly exited: Promise<ExitFacts>;
}

export interface SpawnOptions {
  readonly binPath: string;
  readonly args: readonly string[];
  /** Working directory of QEMU; relative paths in `args` start here. */
  readonly cwd: string;
  /** stdout and stderr; begun anew by each spawn. */
  readonly logPath: string;
  /** Descriptors of ours that QEMU inherits, as 3, 4, ... */
  readonly inherit?: readonly number[];
  /** Called in the moment in which the process exists and has done nothing yet; where it throws, the start fails. */
  readonly onPid?: (pid: number) => void;
}

/**
 * Variables that QEMU gets from us, where set. Everything else stays out: the worker's own hold the keys of all VMs.
 * LC_ALL is fixed, because failures are told apart by QEMU's and libc's English texts.
 */
const PASSED_ON = ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "TZ"] as const;

const CAUSE_OF_SPAWN_ERRNO: Readonly<Record<string, CauseCode>> = {
  ENOENT: "qemu_missing",
  ENOTDIR: "qemu_missing",
  EACCES: "qemu_missing",
  ENOEXEC: "qemu_missing",
  EAGAIN: "resources_exhausted",
  EMFILE: "resources_exhausted",
  ENFILE: "resources_exhausted",
  ENOMEM: "memory_exhausted",
  E2BIG: "qemu_option_invalid",
};

/**
 * Starts QEMU in a session of its own, so that it outlives us and no terminal's Ctrl-C reaches it: stdin empty, output
 * to a file that is opened for appending (never a pipe to us), umask 077, an environment of a few harmless variables.
 * What a core dump could hold is set to nothing.
 * Throws LaunchFailure `qemu_missing`, `resources_exhausted`, `memory_exhausted`, `qemu_option_invalid` (the command
 * line is too long), `state_dir_unusable` or `disk_full` (the log); then there is no process.
 */
export async function spawnQemu(options: SpawnOptions): Promise<QemuProcess> {
  const log = await openLog(options.logPath);
  try {
    return await spawn(options, log.fd);
  } finally {
    // QEMU has its own copy of the descriptor; a failure to close ours must not hide that it runs.
    await log.close().catch(() => undefined);
  }
}

async function spawn({ binPath, args, cwd, inherit = [], onPid }: SpawnOptions, logFd: number): Promise<QemuProcess> {
  // A path is meant from where the worker stands, not from QEMU's working directory; a bare name is looked up in PATH.
  const file = binPath.includes("/") && !isAbsolute(binPath) ? resolve(binPath) : binPath;
  // execa hands any descriptor to spawn(); its types only name the standard ones
  const output = logFd as 1;
  const others = inherit as readonly 1[];
  const child = withPrivateUmask(() =>
    execa(file, args, {
      cwd,
      detached: true, // setsid
      cleanup: false,
      reject: false,
      buffer: false,
      stdio: ["ignore", output, output, ...others],
      extendEnv: false,
      env: childEnvironment(),
    }),
  );
  const ended = child.then((result) => ({
    exit: { exitCode: result.exitCode ?? null, signal: result.signal ?? null },
    error: result,
  }));
  const { pid } = child;
  if (pid === undefined) {
    const { error } = await ended;
    const errno = errnoOf(error) ?? "";
    throw new LaunchFailure(
      CAUSE_OF_SPAWN_ERRNO[errno] ?? "internal",
      `'${binPath}' could not be started (${errno === "" ? "unknown error" : errno})`,
      { cause: error },
    );
  }
  try {
    onPid?.(pid);
  } catch (error) {
    child.kill("SIGKILL");
    await ended;
    throw new LaunchFailure("resources_exhausted", `QEMU could not be limited: ${String(error)}`, { cause: error });
  }
  child.unref();
  const exited = ended.then(({ exit }) => exit);
  const startTimeTicks = readStartTime(pid); // a zombie has one too, so a very early end cannot hide it
  if (startTimeTicks === undefined) {
    child.kill("SIGKILL");
    await exited;
    throw new LaunchFailure("internal", `process ${pid} was started and is not to be seen in /proc`);
  }
  // Bits of memory that a core dump holds (core(5)). Another limit would need another process in between.
  void writeFile(`/proc/${pid}/coredump_filter`, "0").catch(() => undefined); // QEMU ended already, or may not be told
  return { pid, startTimeTicks, exited };
}

/**
 * Runs `act`, which must start a process synchronously, under umask 077, so that all that the process makes is for us
 * only. Files that this program opens on other threads in that moment get at most a stricter mode.
 */
export function withPrivateUmask<T>(act: () => T): T {
  const before = process.umask(0o077);
  try {
    return act();
  } finally {
    process.umask(before);
  }
}

/** The few variables of our environment that a child process may see. */
export function childEnvironment(): Record<string, string> {
  const environment: Record<string, string> = { LC_ALL: "C" };
  for (const name of PASSED_ON) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}

async function openLog(path: string): Promise<FileHandle> {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_APPEND, O_NOFOLLOW } = constants;
  try {
    return await open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW, 0o600);
  } catch (error) {
    throw fileFailure(error, "QEMU's log could not be opened");
  }
}
