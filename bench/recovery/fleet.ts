import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findLaunchesOf } from "../../src/qemu/process-scan.ts";
import { killProcess } from "../../src/runtime/end-process.ts";
import { endGuards } from "../../src/worker/guard/start-guard.ts";
import { freePort, type RedisServer, startRedis } from "../../test/helpers/redis-server.ts";
import { makeRomMachine } from "../../test/helpers/rom-machine.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";

const BIN = fileURLToPath(new URL("../../bin/drover", import.meta.url));
const START_MS = 60_000;
const PORTS_PER_HOST = 120;
const LOOK_MAX_MS = 500;
const AOF = ["--appendonly", "yes", "--appendfsync", "everysec"];

interface WorkerStart {
  /** When its process was started (performance.now). */
  readonly spawnedMs: number;
  /** How long that took until it fetched. */
  readonly startedAfterMs: number;
  /** CPU time that the process had used by then: says more than the clock on a machine that others use as well. */
  readonly cpuMs: number;
}

/** A host of the fleet: a state directory, a range of ports, and a worker that can be killed and started again. */
export interface Host {
  readonly id: string;
  readonly stateDir: string;
  start(): Promise<WorkerStart>;
  /** SIGKILL; gives when. Its VMs run on. */
  kill(): Promise<number>;
}

/** Redis with AOF, `drover api` and workers, each a process of its own, with guests of a few bytes and 32 MB. */
export class Fleet {
  readonly url: string;
  readonly redisUrl: string;
  readonly #dir: string;
  readonly #env: Record<string, string>;
  readonly #hosts: Host[] = [];
  readonly #api: ChildProcess;
  readonly #dispose: () => void;
  #redis: RedisServer;

  private constructor(parts: {
    url: string;
    dir: string;
    env: Record<string, string>;
    redis: RedisServer;
    api: ChildProcess;
    dispose: () => void;
  }) {
    this.url = parts.url;
    this.redisUrl = parts.redis.url;
    this.#dir = parts.dir;
    this.#env = parts.env;
    this.#redis = parts.redis;
    this.#api = parts.api;
    this.#dispose = parts.dispose;
  }

  static async open(): Promise<Fleet> {
    const dir = mkdtempSync(join(tmpdir(), "drr-"));
    const rom = await makeRomMachine("idle");
    const redis = await startRedis({ local: true, dir, args: AOF });
    const port = await freePort();
    const env = {
      ...definedOf(process.env),
      ...rom.env,
      HOME: dir,
      DROVER_REDIS_URL: redis.url,
      DROVER_STATE_DIR: join(dir, "api"),
      MANAGER_HTTP_PORT: String(port),
      MANAGER_GRPC_PORT: "0",
      MANAGER_QEMU_ENABLE_KVM: "false",
      MANAGER_QEMU_CPU: "max",
      MANAGER_QEMU_MAX_MEMORY: "64M",
      MANAGER_QEMU_SMP_COUNT: "1",
      MANAGER_QEMU_SMP_MAXCPUS: "1",
      MANAGER_LOG_LEVEL: "info",
    };
    const api = spawn(BIN, ["api"], { env, stdio: ["ignore", "ignore", "ignore"] });
    const url = `http://127.0.0.1:${port}`;
    const live = async () => (await fetch(`${url}/health`)).ok;
    await waitFor(live, { timeoutMs: START_MS, what: "the API", fatal: () => api.exitCode !== null });
    return new Fleet({ url, dir, env, redis, api, dispose: () => rom.dispose() });
  }

  /** A host with its worker started. Timings are drover's defaults unless `over` says otherwise. */
  async host(id: string, over: Record<string, string> = {}): Promise<Host> {
    const stateDir = join(this.#dir, id);
    const first = 20_000 + this.#hosts.length * PORTS_PER_HOST;
    const env = {
      ...this.#env,
      DROVER_STATE_DIR: stateDir,
      MANAGER_INSTANCE_ID: id,
      MANAGER_MAX_VMS: "100",
      MANAGER_QEMU_HOST_FWD_RANGE: `${first}-${first + PORTS_PER_HOST - 1}`,
      ...over,
    };
    let worker: ChildProcess | undefined;
    const host: Host = {
      id,
      stateDir,
      async start() {
        const spawnedMs = performance.now();
        const child = spawn(BIN, ["worker"], { env, stdio: ["ignore", "pipe", "pipe"] });
        worker = child;
        let output = "";
        let startedMs: number | undefined;
        const read = (chunk: Buffer) => {
          if (startedMs !== undefined) return;
          output += chunk.toString("latin1");
          if (output.includes("worker started")) startedMs = performance.now();
        };
        child.stdout.on("data", read);
        child.stderr.on("data", read);
        const isUp = () => {
          if (child.exitCode !== null) throw new Error(`the worker has ended:\n${output}`);
          return startedMs;
        };
        const at = await waitFor(isUp, {
          timeoutMs: START_MS,
          intervalMs: 2,
          what: "the worker",
          fatal: () => child.exitCode !== null,
        });
        return { spawnedMs, startedAfterMs: at - spawnedMs, cpuMs: cpuMs(child.pid ?? 0) };
      },
      async kill() {
        const atMs = performance.now();
        if (worker !== undefined) await end(worker, "SIGKILL");
        return atMs;
      },
    };
    this.#hosts.push(host);
    await host.start();
    return host;
  }

  async submit(request: object = {}): Promise<string> {
    const response = await fetch(`${this.url}/v1/vms`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
    });
    if (response.status !== 202) throw new Error(`submit was answered ${response.status}`);
    return ((await response.json()) as { id: string }).id;
  }

  async get<T>(path: string): Promise<T> {
    return (await (await fetch(`${this.url}${path}`)).json()) as T;
  }

  async remove(vmId: string): Promise<void> {
    await fetch(`${this.url}/v1/vms/${vmId}?force=true`, { method: "DELETE" });
  }

  async killRedis(): Promise<void> {
    await this.#redis.stop();
  }

  /** The same data on the same port. Resolves when it answers, with when (performance.now) it did first. */
  async returnRedis(): Promise<number> {
    const port = Number(new URL(this.redisUrl).port);
    const answersMs = firstAnswer(port);
    this.#redis = await startRedis({ local: true, dir: this.#dir, port, args: AOF });
    return answersMs;
  }

  /** Ends everything, and every QEMU and guard of every host. */
  async close(): Promise<void> {
    for (const host of this.#hosts) {
      await host.kill();
      await endGuards(JSON.parse(readFileSync(join(host.stateDir, "host.json"), "utf8")).stateId);
      for (const qemu of findLaunchesOf(host.stateDir)) await killProcess(qemu);
    }
    await end(this.#api, "SIGKILL");
    await this.#redis.stop();
    this.#dispose();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** When a server on this port says PONG, and not that it loads its data. By a bare socket: clients wait between tries. */
async function firstAnswer(port: number): Promise<number> {
  const isThere = () =>
    new Promise<boolean>((resolve) => {
      const socket = createConnection(port, "127.0.0.1", () => socket.write("PING\r\n"));
      socket.once("data", (chunk) => resolve(chunk.toString().startsWith("+PONG")));
      socket.once("error", () => resolve(false)).once("close", () => resolve(false));
      socket.setTimeout(LOOK_MAX_MS, () => socket.destroy());
    });
  await waitFor(isThere, { timeoutMs: START_MS, intervalMs: 5, what: "Redis to answer" });
  return performance.now();
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  await exited;
}

/** utime and stime of proc(5), in clock ticks of 10 ms. */
function cpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function definedOf(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
