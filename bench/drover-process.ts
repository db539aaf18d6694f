import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freePort, startRedis } from "../test/helpers/redis-server.ts";

const READY_MS = 30_000;

export interface DroverProcess {
  readonly url: string;
  readonly redisUrl: string;
  readonly stateDir: string;
  stop(): Promise<void>;
}

/** Drover as a host of a fleet runs it: redis-server with AOF, `drover api` and `drover worker`, each a process. */
export async function startDroverProcess(settings: Record<string, string>): Promise<DroverProcess> {
  const stateDir = mkdtempSync(join(tmpdir(), "drb-"));
  const redis = await startRedis({
    local: true,
    dir: stateDir,
    args: ["--appendonly", "yes", "--appendfsync", "everysec"],
  });
  const port = await freePort();
  const env = {
    ...definedOf(process.env),
    ...settings,
    DROVER_STATE_DIR: stateDir,
    DROVER_REDIS_URL: redis.url,
    MANAGER_HTTP_PORT: String(port),
    MANAGER_GRPC_PORT: "0",
    MANAGER_LOG_LEVEL: "warn",
  };
  const bin = fileURLToPath(new URL("../bin/drover", import.meta.url));
  const children = ["api", "worker"].map((part) => spawn(bin, [part], { env, stdio: ["ignore", "ignore", "inherit"] }));
  const url = `http://127.0.0.1:${port}`;
  await untilReady(url, children);
  return {
    url,
    redisUrl: redis.url,
    stateDir,
    async stop() {
      for (const child of children) {
        const exited = once(child, "exit");
        child.kill("SIGTERM");
        await exited;
      }
      await redis.stop();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

async function untilReady(url: string, children: readonly ChildProcess[]): Promise<void> {
  for (const deadline = Date.now() + READY_MS; Date.now() < deadline; await delay(50)) {
    if (children.some((child) => child.exitCode !== null)) throw new Error("drover ended instead of starting");
    const answer = await fetch(`${url}/ready`).catch(() => undefined);
    if (answer?.ok === true) return;
  }
  for (const child of children) child.kill("SIGKILL");
  throw new Error("drover was not ready in time");
}

function definedOf(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
