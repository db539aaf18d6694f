import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { quickGuestEnv } from "../helpers/demo-guest.ts";
import { freePort } from "../helpers/redis-server.ts";
import { waitFor } from "../helpers/wait-for.ts";

export const ROOT = join(import.meta.dirname, "../..");
export const DROVER = join(ROOT, "bin/drover");

/** Compiles what `bin/drover` runs; does nothing when it is up to date. */
export async function buildDrover(): Promise<void> {
  await execa("node", [join(ROOT, "scripts/build.mjs")]);
}

/** Without the settings of the shell that runs the tests. */
export function cleanEnv(): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(MANAGER_|DROVER_|COCOS_|REDIS_URL|COLUMNS|NO_COLOR|FORCE_COLOR)/.test(name),
  );
  return Object.fromEntries(kept.map(([name, value]) => [name, value ?? ""]));
}

/** One call of the command as a process. */
export function drover(words: readonly string[], env: Record<string, string> = {}) {
  return execa(DROVER, [...words], {
    env: { ...cleanEnv(), ...env },
    extendEnv: false,
    reject: false,
    stripFinalNewline: false,
  });
}

/** Pids of all processes whose command line holds the text. */
export async function pidsWith(text: string): Promise<readonly number[]> {
  const found: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const commandLine = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    if (commandLine.includes(text)) found.push(Number(name));
  }
  return found;
}

/** `await using up = await startUp()`: a real `drover up` with the demo guest, in a directory and on ports of its own. */
export async function startUp(env: Record<string, string> = {}, command = DROVER) {
  const stateDir = env["DROVER_STATE_DIR"] ?? (await mkdtemp(join(tmpdir(), "dup-")));
  const port = await freePort();
  const first = 20_000 + (port % 900) * 10;
  const url = `http://127.0.0.1:${port}`;
  const setting = {
    ...quickGuestEnv(),
    DROVER_STATE_DIR: stateDir,
    MANAGER_HTTP_PORT: String(port),
    MANAGER_GRPC_PORT: "0",
    MANAGER_MAX_VMS: "2",
    MANAGER_QEMU_HOST_FWD_RANGE: `${first}-${first + 9}`,
    DROVER_STOP_POWERDOWN_TIMEOUT: "2s",
    ...env,
  };
  const child = execa(command, ["up"], {
    env: { ...cleanEnv(), ...setting },
    extendEnv: false,
    reject: false,
    all: true,
  });
  let output = "";
  child.all.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  let hasEnded = false;
  void child.then(() => {
    hasEnded = true;
  });
  await waitFor(
    () => {
      if (hasEnded) throw new Error(`drover up has ended:\n${output}`);
      return output.includes("drover is up");
    },
    { timeoutMs: 60_000, what: "drover up" },
  );
  return {
    stateDir,
    url,
    setting,
    child,
    output: () => output,
    run: (...words: string[]) => drover(words, { DROVER_URL: url }),
    leftovers: () => pidsWith(`${stateDir}/`),
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child;
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}
