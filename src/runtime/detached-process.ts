import { execa } from "execa";

export interface DetachedProcess {
  /** Undefined when the process could not be started. */
  readonly pid: number | undefined;
  /** Settles, never rejects, when the process has ended. */
  readonly ended: Promise<{ readonly exitCode: number | undefined; readonly message: string }>;
}

/**
 * Starts a process that outlives us: a session of its own, no pipe to us, nothing of our environment but `env`.
 * What it prints goes to an open file.
 */
export function startDetached(options: {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Record<string, string>;
  readonly outputFd: number;
}): DetachedProcess {
  const output = options.outputFd as 1; // execa hands any descriptor to spawn(); its types only name the standard ones
  const child = execa(options.file, options.args, {
    cwd: "/", // holds no file system
    detached: true, // setsid
    cleanup: false,
    reject: false,
    buffer: false,
    stdin: "ignore",
    stdout: output,
    stderr: output,
    extendEnv: false,
    env: options.env,
  });
  const ended = child.then((result) => ({ exitCode: result.exitCode, message: result.shortMessage ?? "" }));
  child.unref();
  return { pid: child.pid, ended };
}
