import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { waitFor } from "../../test/helpers/wait-for.ts";

const START_MS = 120_000;

/** A process of the benchmark, which has said that it is ready. */
export interface Running {
  readonly pid: number;
  /** SIGTERM, and waits for its end. */
  end(): Promise<void>;
}

/** Starts `node --import tsx <script>` and waits until it says `ready`. */
export async function startScript(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Running> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  return started(
    spawn(process.execPath, ["--import", "tsx", path, ...args], { env: environment(env), stdio: STDIO }),
    "ready",
  );
}

/** Starts `drover worker` as it is installed and waits until it fetches. */
export async function startDroverWorker(env: Readonly<Record<string, string>>): Promise<Running> {
  const bin = fileURLToPath(new URL("../../bin/drover", import.meta.url));
  return started(spawn(bin, ["worker"], { env: environment(env), stdio: STDIO }), "worker started");
}

const STDIO = ["ignore", "pipe", "inherit"] as ["ignore", "pipe", "inherit"];

/** Whatever ends the benchmark, none of its processes stays. */
const children = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

async function started(child: ChildProcess, sign: string): Promise<Running> {
  children.add(child);
  child.once("exit", () => children.delete(child));
  let said = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    if (!said.includes(sign)) said += chunk.toString("latin1");
  });
  const isReady = () => {
    if (child.exitCode !== null) throw new Error(`a process ended instead of starting:\n${said}`);
    return said.includes(sign);
  };
  await waitFor(isReady, { timeoutMs: START_MS, what: `'${sign}'`, fatal: () => child.exitCode !== null });
  return {
    pid: child.pid ?? 0,
    async end() {
      if (child.exitCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    },
  };
}

/** Compiles one of the programs beside this file. */
export function compile(source: string, dir: string): string {
  const program = join(dir, source.replace(/\.c$/, ""));
  execFileSync("cc", ["-O2", "-static", "-o", program, fileURLToPath(new URL(source, import.meta.url))]);
  return program;
}

/** CPU time of a process so far (ms, in ticks of 10) and its memory (bytes). */
export function usage(pid: number): { readonly cpuMs: number; readonly rssBytes: number } {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const kb = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]);
  return { cpuMs: (Number(fields[11]) + Number(fields[12])) * 10, rssBytes: kb * 1024 };
}

function environment(over: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  return { ...process.env, ...over };
}
