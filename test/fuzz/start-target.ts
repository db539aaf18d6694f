import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TargetReport } from "./target.ts";

const START_MAX_MS = 30_000;
const ANSWER_MAX_MS = 10_000;

export interface TargetState {
  readonly rssBytes: number;
  readonly heapBytes: number;
  /** What it logged as errors: there should be none. */
  readonly failures: readonly string[];
}

export interface Target extends AsyncDisposable {
  readonly httpPort: number;
  readonly grpcPort: number;
  /** Undefined while it lives. */
  readonly exit: string | undefined;
  /** Its memory after a collection of garbage. */
  state(): Promise<TargetState>;
}

/** Starts the real API over this Redis, under a key prefix of its own. */
export async function startTarget({ redisUrl, prefix }: { redisUrl: string; prefix: string }): Promise<Target> {
  const stateDir = await mkdtemp(join(tmpdir(), "drover-fuzz-"));
  const child = fork(join(import.meta.dirname, "target.ts"), [], {
    execArgv: ["--expose-gc", "--import", "tsx"],
    env: {
      PATH: process.env["PATH"] ?? "",
      // Else the C library keeps what was freed in many places, and the figure says little.
      MALLOC_ARENA_MAX: "1",
      MALLOC_TRIM_THRESHOLD_: "131072",
      DROVER_REDIS_URL: redisUrl,
      DROVER_REDIS_PREFIX: prefix,
      DROVER_STATE_DIR: stateDir,
      DROVER_SECRETS_KEY: `k1:${Buffer.alloc(32, 1).toString("base64")}`,
      MANAGER_HTTP_PORT: "0",
      MANAGER_GRPC_PORT: "0",
    },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  let exit: string | undefined;
  child.once("exit", (code, signal) => {
    exit = `it ended with ${signal ?? code}`;
  });
  const ready = await report(child, "ready", START_MAX_MS);
  return {
    httpPort: Number(new URL(ready.url).port),
    grpcPort: Number(new URL(ready.grpcUrl).port),
    get exit() {
      return exit;
    },
    state: () => {
      const answer = report(child, "state", ANSWER_MAX_MS);
      child.send("state");
      return answer;
    },
    async [Symbol.asyncDispose]() {
      if (exit === undefined) {
        const ended = once(child, "exit");
        const kill = setTimeout(() => child.kill("SIGKILL"), ANSWER_MAX_MS);
        child.send("stop");
        await ended;
        clearTimeout(kill);
      }
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}

function report<K extends TargetReport["kind"]>(
  child: ChildProcess,
  kind: K,
  timeoutMs: number,
): Promise<Extract<TargetReport, { kind: K }>> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the API did not tell its ${kind} in ${timeoutMs} ms`)), timeoutMs);
    const onEnd = () => reject(new Error(`the API ended before it told its ${kind}`));
    const onMessage = (message: TargetReport) => {
      if (message.kind !== kind) return;
      clearTimeout(timer);
      child.off("message", onMessage);
      child.off("exit", onEnd);
      resolve(message as Extract<TargetReport, { kind: K }>);
    };
    child.on("message", onMessage);
    child.once("exit", onEnd);
  });
}
