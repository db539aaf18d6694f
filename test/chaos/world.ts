import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { openRedis, type RedisClient } from "../../src/queue/connection.ts";
import { type RedisKeys, redisKeys } from "../../src/queue/redis-keys.ts";
import { isAlive, type ProcessIdentity, readStartTime, signalProcess } from "../../src/runtime/process-identity.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { processesNaming } from "../helpers/machine-traces.ts";
import { freePort, type RedisServer, startRedis } from "../helpers/redis-server.ts";
import { makeRomMachine } from "../helpers/rom-machine.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { nowMs, Recorder } from "./history.ts";
import { makeTruthQemu, type TruthQemu } from "./truth-qemu.ts";
import { TruthSampler } from "./truth-sampler.ts";

export const HOSTS = ["h1", "h2"] as const;
export type HostName = (typeof HOSTS)[number];
export type Edge = "h1-redis" | "h2-redis" | "api-redis" | "client-api";

export interface WorldOptions {
  readonly seed: string;
  readonly policy: "rerun" | "hold";
  readonly onPartition: "keep" | "stop";
  readonly dataLoss: boolean;
  readonly maxVms: number;
  readonly settleMs: number;
  /** `bin/drover` of the build under test. */
  readonly bin?: string;
  /** Keeps the state directories and logs when the run is over. */
  readonly keep?: boolean;
}

/** Short, so that a fault is over within seconds; their proportions are those of the defaults. */
export const TIMINGS = { leaseMs: 2_000, renewMs: 500, hostLostAfterMs: 6_000 } as const;

const ROOT = join(import.meta.dirname, "../..");

/** A child process that is ended by its id only, and never mistaken for a later one. */
interface Child {
  readonly process: ChildProcess;
  readonly identity: ProcessIdentity;
  readonly ended: Promise<number | null>;
  /** Of a worker: its MANAGER_MAX_VMS. */
  readonly maxVms: number;
}

/** Redis with AOF, an API and two workers as two hosts: processes all, each on a way to Redis of its own. */
export class World implements AsyncDisposable {
  readonly options: WorldOptions;
  readonly recorder = new Recorder();
  readonly dir: string;
  readonly keys: RedisKeys = redisKeys("{chaos}");
  readonly edges: Readonly<Record<Edge, FaultProxy>>;
  readonly sampler: TruthSampler;
  readonly ports: Readonly<Record<HostName, { readonly first: number; readonly last: number }>>;
  readonly apiUrl: string;
  /** The API without a proxy, for whoever looks on. */
  readonly directUrl: string;
  readonly #scope: Scope;
  readonly #redisPort: number;
  readonly #env: Readonly<Record<string, string>>;
  readonly #truth: TruthQemu;
  readonly #workers = new Map<HostName, Child>();
  #redis: RedisServer;
  #api: Child | undefined;

  private constructor(made: {
    options: WorldOptions;
    scope: Scope;
    dir: string;
    redis: RedisServer;
    redisPort: number;
    apiPort: number;
    edges: Record<Edge, FaultProxy>;
    firstPort: number;
    machineEnv: Readonly<Record<string, string>>;
    truth: TruthQemu;
  }) {
    const { options, scope, dir, redis, redisPort, apiPort, edges, firstPort, machineEnv, truth } = made;
    this.options = options;
    this.dir = dir;
    this.edges = edges;
    this.ports = {
      h1: { first: firstPort, last: firstPort + 39 },
      h2: { first: firstPort + 40, last: firstPort + 79 },
    };
    this.apiUrl = `http://127.0.0.1:${edges["client-api"].port}`;
    this.directUrl = `http://127.0.0.1:${apiPort}`;
    this.#scope = scope;
    this.#redis = redis;
    this.#redisPort = redisPort;
    this.#truth = truth;
    this.#env = {
      PATH: process.env["PATH"] ?? "",
      HOME: dir,
      ...machineEnv,
      ...truth.env,
      MANAGER_QEMU_ENABLE_KVM: "false",
      MANAGER_QEMU_CPU: "max",
      MANAGER_QEMU_MEMORY_SIZE: "32M",
      MANAGER_QEMU_MAX_MEMORY: "64M",
      MANAGER_QEMU_MEMORY_SLOTS: "1",
      MANAGER_QEMU_SMP_COUNT: "1",
      MANAGER_QEMU_SMP_MAXCPUS: "1",
      MANAGER_HTTP_PORT: String(apiPort),
      MANAGER_GRPC_PORT: "0",
      MANAGER_LOG_LEVEL: "info",
      DROVER_REDIS_PREFIX: this.keys.prefix,
      DROVER_SECRETS_KEY: `chaos:${randomBytes(32).toString("base64")}`,
      DROVER_LEASE: `${TIMINGS.leaseMs}ms`,
      DROVER_LEASE_RENEW: `${TIMINGS.renewMs}ms`,
      DROVER_HOST_LOST: options.policy,
      DROVER_HOST_LOST_AFTER: `${TIMINGS.hostLostAfterMs}ms`,
      DROVER_ON_PARTITION: options.onPartition,
      DROVER_BACKOFF: "50ms",
      DROVER_BACKOFF_MAX: "1s",
      DROVER_RECONCILE_INTERVAL: "1s",
      DROVER_SWEEP_INTERVAL: "500ms",
      DROVER_STOP_POWERDOWN_TIMEOUT: "500ms",
      DROVER_STOP_QUIT_TIMEOUT: "1s",
      DROVER_STOP_TERM_TIMEOUT: "1s",
      DROVER_QMP_TIMEOUT: "4s",
      DROVER_PORT_ASIDE: "2s",
    };
    for (const host of HOSTS) mkdirSync(this.stateDir(host), { mode: 0o700 });
    this.sampler = new TruthSampler(this.recorder, (commandLine) => this.hostOf(commandLine));
  }

  static async start(options: WorldOptions): Promise<World> {
    const scope = new Scope();
    try {
      const dir = scope.own(mkdtempSync(join(tmpdir(), "dch-")), (made) => {
        if (options.keep !== true) rmSync(made, { recursive: true, force: true });
      });
      const redisPort = await freePort();
      const redis = await startRedisIn(dir, redisPort);
      const apiPort = await freePort();
      const proxy = async (port: number) =>
        scope.own(await FaultProxy.start(port), (made) => made[Symbol.asyncDispose]());
      const edges = {
        "h1-redis": await proxy(redisPort),
        "h2-redis": await proxy(redisPort),
        "api-redis": await proxy(redisPort),
        "client-api": await proxy(apiPort),
      };
      const machine = scope.own(await makeRomMachine("patient"), (made) => made.dispose());
      const truth = await makeTruthQemu(dir, (path) => HOSTS.find((host) => path.startsWith(`${join(dir, host)}/`)));
      // Below the system's own range for outgoing connections, any of which would hold a port.
      const firstPort = 14_000 + (process.pid % 150) * 100;
      const world = new World({
        options,
        scope,
        dir,
        redis,
        redisPort,
        apiPort,
        edges,
        firstPort,
        machineEnv: machine.env,
        truth,
      });
      scope.own(world, (made) => made.#endEverything());
      return world;
    } catch (error) {
      await scope.close();
      throw error;
    }
  }

  stateDir(host: HostName): string {
    return join(this.dir, host);
  }

  logFile(name: string): string {
    return join(this.dir, `${name}.log`);
  }

  hostOf(text: string): HostName | undefined {
    return HOSTS.find((host) => text.includes(`${this.stateDir(host)}/`));
  }

  /** The text files of all that ran: outputs, and Redis's own file. */
  get outputs(): readonly string[] {
    return [...HOSTS, "api"].map((name) => this.logFile(name));
  }

  get redisPid(): number | undefined {
    return this.#redis.pid;
  }

  workerPid(host: HostName): number | undefined {
    return this.#workers.get(host)?.identity.pid;
  }

  get apiPid(): number | undefined {
    return this.#api?.identity.pid;
  }

  /** Notes the launches that QEMU's stand-in has logged. */
  collect(): void {
    this.#truth.collect(this.recorder);
  }

  /** A connection to Redis itself, past all proxies. */
  client(): RedisClient {
    const logger = pino({ level: "silent" });
    return openRedis({ url: `redis://127.0.0.1:${this.#redisPort}`, role: "worker", name: "chaos-eye", logger });
  }

  async startApi(): Promise<void> {
    this.#api = this.#spawn("api", "api", {
      DROVER_REDIS_URL: `redis://127.0.0.1:${this.edges["api-redis"].port}`,
      DROVER_STATE_DIR: join(this.dir, "api"),
    });
    await waitFor(async () => (await fetch(`${this.directUrl}/health`)).ok, {
      timeoutMs: 20_000,
      what: "the API to answer",
    });
  }

  async killApi(): Promise<void> {
    await this.#kill(this.#api, "SIGKILL");
  }

  async killRedis(): Promise<void> {
    await this.#redis.stop();
  }

  async startRedis(): Promise<void> {
    this.#redis = await startRedisIn(this.dir, this.#redisPort);
  }

  /** Starts a host's worker; `ready` resolves when it fetches, or is false when it ended instead. */
  startWorker(host: HostName, maxVms = this.options.maxVms, failpoint = ""): { readonly ready: Promise<boolean> } {
    const { first, last } = this.ports[host];
    const logged = logSize(this.logFile(host));
    const child = this.#spawn(
      host,
      "worker",
      {
        DROVER_REDIS_URL: `redis://127.0.0.1:${this.edges[`${host}-redis`].port}`,
        DROVER_STATE_DIR: this.stateDir(host),
        MANAGER_INSTANCE_ID: host,
        MANAGER_MAX_VMS: String(maxVms),
        DROVER_FAILPOINT: failpoint,
        MANAGER_QEMU_HOST_FWD_RANGE: `${first}-${last}`,
      },
      maxVms,
    );
    this.#workers.set(host, child);
    const { pid } = child.identity;
    this.recorder.add("worker", { host, what: "start", pid, maxVms }, { process: host });
    const ready = waitFor(
      () => {
        if (!isAlive(child.identity)) return "ended" as const;
        return logSince(this.logFile(host), logged).includes("worker started") ? ("ready" as const) : undefined;
      },
      { timeoutMs: 120_000, intervalMs: 20, what: `the worker of ${host} to start` },
    ).then((outcome) => {
      if (outcome === "ready") this.recorder.add("worker", { host, what: "ready", pid, maxVms }, { process: host });
      return outcome === "ready";
    });
    ready.catch(() => undefined); // whoever wants to know asks
    return { ready };
  }

  async endWorker(host: HostName, by: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#workers.get(host);
    if (child === undefined) return;
    const begunMs = nowMs();
    await this.#kill(child, by);
    const tookMs = nowMs() - begunMs;
    this.#workers.delete(host);
    this.recorder.add(
      "worker",
      { host, what: "exit", pid: child.identity.pid, maxVms: 0, by, tookMs },
      { process: host },
    );
  }

  signalWorker(host: HostName, signal: "SIGSTOP" | "SIGCONT"): void {
    const child = this.#workers.get(host);
    if (child !== undefined) signalProcess(child.identity, signal);
  }

  slotsOf(host: HostName): number {
    return this.#workers.get(host)?.maxVms ?? 0;
  }

  /** True while the worker's process exists. */
  hasWorker(host: HostName): boolean {
    const child = this.#workers.get(host);
    return child !== undefined && isAlive(child.identity);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope.close();
  }

  #spawn(name: string, part: "api" | "worker", env: Record<string, string>, maxVms = 0): Child {
    const output = openSync(this.logFile(name), "a");
    const bin = this.options.bin ?? join(ROOT, "bin/drover");
    const child = spawn(process.execPath, [bin, part], {
      env: { ...this.#env, ...env },
      stdio: ["ignore", output, output],
      detached: true,
    });
    const { pid } = child;
    const startTimeTicks = pid === undefined ? undefined : readStartTime(pid);
    if (pid === undefined || startTimeTicks === undefined) throw new Error(`${part} could not be started`);
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    return { process: child, identity: { pid, startTimeTicks }, ended, maxVms };
  }

  async #kill(child: Child | undefined, signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    if (child === undefined) return;
    if (signal === "SIGTERM") signalProcess(child.identity, "SIGCONT"); // one that is stopped hears nothing
    signalProcess(child.identity, signal);
    const patience = setTimeout(() => signalProcess(child.identity, "SIGKILL"), 30_000);
    await child.ended;
    clearTimeout(patience);
  }

  /** Nothing that this world has started outlives it: workers, guards, QEMUs, Redis. */
  async #endEverything(): Promise<void> {
    this.sampler.stop();
    for (const host of HOSTS) await this.#kill(this.#workers.get(host), "SIGKILL");
    await this.#kill(this.#api, "SIGKILL");
    await waitFor(
      () => {
        const left = processesNaming(`${this.dir}/`).map((line) => Number(line.split(" ")[0]));
        for (const pid of left) {
          const startTimeTicks = readStartTime(pid);
          if (pid !== this.#redis.pid && startTimeTicks !== undefined)
            signalProcess({ pid, startTimeTicks }, "SIGKILL");
        }
        return left.every((pid) => pid === this.#redis.pid);
      },
      { timeoutMs: 10_000, what: "everything of this run to end" },
    );
    await this.#redis.stop();
  }
}

async function startRedisIn(dir: string, port: number): Promise<RedisServer> {
  const data = join(dir, "redis");
  mkdirSync(data, { recursive: true });
  return startRedis({ local: true, port, dir: data, args: ["--appendonly", "yes", "--appendfsync", "everysec"] });
}

function logSize(path: string): number {
  writeFileSync(path, "", { flag: "a" });
  return readFileSync(path).length;
}

function logSince(path: string, offset: number): string {
  return readFileSync(path).subarray(offset).toString();
}
