import { execa } from "execa";
import { endProcess } from "./end-process.ts";
import { identifyProcess, type LastingIdentity } from "./lasting-identity.ts";
import type { Logger } from "./logger.ts";

/** A large append-only file takes its time to load. */
const READY_TIMEOUT_MS = 120_000;
/** Flushing the append-only file is quick; this is for a disk that is not. */
const TERM_MS = 10_000;
const LOG_TAIL_LINES = 12;
/** sysexits.h EX_TEMPFAIL: no code of redis-server's own. */
const LOCKED_EXIT_CODE = 75;

export type StartOutcome =
  | { readonly kind: "ready"; readonly process: RedisServerProcess }
  | { readonly kind: "locked" | "port_taken" }
  | { readonly kind: "program_missing"; readonly program: string }
  | { readonly kind: "failed"; readonly text: string };

export interface RedisServerProcess {
  readonly identity: LastingIdentity;
  /** Settles when the process has ended, with its last lines. Never rejects. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
}

/**
 * Starts redis-server and waits until it serves. Its own line says so, not a connection: a connection could reach a
 * stranger who holds the port, and would hand the password to it.
 */
export async function startRedisServer(options: {
  readonly binPath: string;
  readonly configFile: string;
  readonly lockFile: string;
  readonly logger: Logger;
}): Promise<StartOutcome> {
  for (const program of ["setpriv", "flock", options.binPath]) {
    if (!(await exists(program))) return { kind: "program_missing", program };
  }
  // setpriv: redis-server ends with us, even when we are killed. flock: one server per directory, held by the server
  // itself until it ends. Both replace themselves by the next program, so there is one process.
  const child = execa(
    "setpriv",
    [
      ...["--pdeathsig", "TERM", "flock", "--nonblock", "--no-fork", "--conflict-exit-code", String(LOCKED_EXIT_CODE)],
      ...[options.lockFile, options.binPath, options.configFile],
    ],
    {
      stdin: "ignore",
      all: true,
      buffer: false,
      reject: false,
      // A session of its own: Ctrl-C reaches everybody in ours, and Redis must be the last to end.
      detached: true,
      cleanup: false,
    },
  );
  const tail: string[] = [];
  const ready = watchLines(child.iterable({ from: "all" }), options.logger, tail);
  const ended = child.then((result) => {
    return {
      exitCode: result.exitCode,
      text: [...tail, result.code === undefined ? "" : result.shortMessage].join("\n").trim(),
    };
  });
  const outcome = await Promise.race([ready, ended, timeout(READY_TIMEOUT_MS)]);
  const identity = child.pid === undefined ? undefined : identifyProcess(child.pid);
  if (outcome === "ready" && identity !== undefined) {
    const stop = async () => {
      await endProcess(identity, { termMs: TERM_MS });
    };
    return { kind: "ready", process: { identity, ended: ended.then(({ text }) => text), stop } };
  }
  if (identity !== undefined) await endProcess(identity, { termMs: TERM_MS });
  const { exitCode, text } = await ended;
  if (exitCode === LOCKED_EXIT_CODE) return { kind: "locked" };
  if (/Address already in use/i.test(text)) return { kind: "port_taken" };
  return {
    kind: "failed",
    text: outcome === "timeout" ? `it was not ready within ${READY_TIMEOUT_MS / 1000} s\n${text}` : text,
  };
}

function watchLines(lines: AsyncIterable<string>, logger: Logger, tail: string[]): Promise<"ready"> {
  return new Promise((resolve) => {
    const read = async () => {
      for await (const line of lines) {
        logger.debug({ line }, "redis-server");
        tail.push(line);
        if (tail.length > LOG_TAIL_LINES) tail.shift();
        if (line.includes("Ready to accept connections")) resolve("ready");
      }
    };
    read().catch((error: unknown) => logger.debug({ err: error }, "reading redis-server's output ended"));
  });
}

async function exists(program: string): Promise<boolean> {
  const { exitCode, failed, code } = await execa(program, ["--version"], { reject: false, stdio: "ignore" });
  return code !== "ENOENT" && code !== "EACCES" && (exitCode !== undefined || !failed);
}

function timeout(ms: number): Promise<"timeout"> {
  return new Promise((resolve) => setTimeout(resolve, ms, "timeout" as const).unref());
}
