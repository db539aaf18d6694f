import { join } from "node:path";
import { execa } from "execa";
import { waitFor } from "./wait-for.ts";

const ROOT = join(import.meta.dirname, "../..");

export interface WorkerProcess extends AsyncDisposable {
  readonly pid: number;
  /** Everything that it has printed. */
  output(): string;
  /** No farewell: what it was doing stays half done. Resolves when it is dead. */
  kill(): Promise<void>;
  /** SIGTERM; gives the exit code. */
  terminate(): Promise<number | undefined>;
  signal(signal: NodeJS.Signals): void;
  /** Resolves when it has ended by itself, or by its fail point. */
  ended(): Promise<void>;
  /** Time since its first signal of ours. */
  drainedForMs(): number;
}

/**
 * `drover worker` from the source, as a process of its own that can be killed. `env` as in a world's `env`. Resolves
 * when it fetches, or, with `until: "spawned"`, at once.
 */
export async function startWorkerProcess(
  env: Record<string, string>,
  { until = "started", flags = [] }: { until?: "started" | "spawned"; flags?: readonly string[] } = {},
): Promise<WorkerProcess> {
  const child = execa(process.execPath, ["--import", "tsx", join(ROOT, "src/cli/main.ts"), "worker", ...flags], {
    cwd: ROOT,
    env: { PATH: process.env["PATH"] ?? "", ...env, MANAGER_LOG_LEVEL: "info" },
    extendEnv: false,
    reject: false,
    all: true,
    forceKillAfterDelay: false, // execa would follow SIGTERM with SIGKILL: how long a stop takes is the worker's own affair
  });
  let output = "";
  child.all.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  let ended = false;
  const end = child.then((result) => {
    ended = true;
    return result;
  });
  const { pid } = child;
  if (pid === undefined) throw new Error("the worker could not be started");
  const kill = async () => {
    child.kill("SIGKILL");
    await end;
  };
  if (until === "started") {
    await waitFor(
      () => {
        if (ended) throw new Error(`the worker has ended:\n${output}`);
        return output.includes("worker started");
      },
      { timeoutMs: 60_000, what: "the worker to start", fatal: () => ended },
    );
  }
  let signalledAtMs = Number.POSITIVE_INFINITY;
  const signal = (name: NodeJS.Signals) => {
    signalledAtMs = Math.min(signalledAtMs, performance.now());
    child.kill(name);
  };
  return {
    pid,
    signal,
    drainedForMs: () => performance.now() - signalledAtMs,
    async ended() {
      await waitFor(() => ended, { timeoutMs: 60_000, what: "the worker to end" }).catch((cause) => {
        throw new Error(`the worker lives:\n${output}`, { cause });
      });
    },
    output: () => output,
    kill,
    async terminate() {
      signal("SIGTERM");
      return (await end).exitCode;
    },
    [Symbol.asyncDispose]: kill,
  };
}
