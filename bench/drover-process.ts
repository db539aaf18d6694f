import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const READY_MS = 30_000;

export interface DroverProcess {
  readonly url: string;
  readonly stateDir: string;
  readonly env: Record<string, string>;
  stop(): Promise<void>;
}

/** `drover up` as its users run it: the built command, a process of its own, private Redis. */
export async function startDroverProcess(settings: Record<string, string>): Promise<DroverProcess> {
  const stateDir = mkdtempSync(join(tmpdir(), "drb-"));
  const port = await freePort();
  const env = {
    ...definedOf(process.env),
    ...settings,
    DROVER_STATE_DIR: stateDir,
    MANAGER_HTTP_PORT: String(port),
    MANAGER_LOG_LEVEL: "warn",
  };
  const bin = fileURLToPath(new URL("../bin/drover", import.meta.url));
  const child = spawn(bin, ["up"], { env, stdio: ["ignore", "ignore", "inherit"] });
  const url = `http://127.0.0.1:${port}`;
  await untilReady(url, child);
  return {
    url,
    stateDir,
    env,
    async stop() {
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

async function untilReady(url: string, child: ChildProcess): Promise<void> {
  for (const deadline = Date.now() + READY_MS; Date.now() < deadline; await delay(50)) {
    if (child.exitCode !== null) throw new Error(`drover up exited with ${child.exitCode}`);
    const answer = await fetch(`${url}/ready`).catch(() => undefined);
    if (answer?.ok === true) return;
  }
  child.kill("SIGKILL");
  throw new Error("drover up was not ready in time");
}

function definedOf(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
