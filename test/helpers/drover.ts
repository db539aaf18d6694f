import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { CloudEvent, VmEventType } from "../../src/contract/vm-event.ts";
import type { VmRequest } from "../../src/contract/vm-request.ts";
import { isFinal, type VmState } from "../../src/contract/vm-state.ts";
import { VmDetail } from "../../src/contract/vm-view.ts";
import { startApi } from "../../src/producer/start-api.ts";
import { findLaunchesOf } from "../../src/qemu/process-scan.ts";
import { openRedis } from "../../src/queue/connection.ts";
import { EventLog } from "../../src/queue/event-log.ts";
import { redisKeys } from "../../src/queue/redis-keys.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { Scope } from "../../src/runtime/scope.ts";
import type { Tracing } from "../../src/runtime/tracing/open-tracing.ts";
import { startWorker } from "../../src/worker/start-worker.ts";
import type { StartedWorker } from "../../src/worker/worker-stop.ts";
import type { RomGuest } from "../qemu/support/rom-guest.ts";
import { quickGuestEnv } from "./demo-guest.ts";
import { freePort, type RedisServer, startRedis } from "./redis-server.ts";
import { makeRomMachine } from "./rom-machine.ts";
import { waitFor } from "./wait-for.ts";

export interface DroverOptions {
  /** Over those of a quick guest. */
  readonly env?: Record<string, string>;
  /** VMs run this guest of a few bytes instead of the demo guest; `chooseGuest` changes it for later launches. */
  readonly rom?: RomGuest;
  readonly redis?: RedisServer;
  readonly worker?: boolean;
  readonly tracing?: Tracing;
  /** Forwarded ports: each world has its own, so that tests do not meet. */
  readonly ports?: { first: number; last: number };
}

export type SubmitBody = VmRequest & Record<string, unknown>;

/** Below the system's own range for outgoing connections, any of which would hold a port. */
let nextRange = 12_000 + (process.pid % 200) * 100;

/** A range of ports for one world; the next world gets the next ones. */
export function nextPorts(count = 10): { first: number; last: number } {
  const first = nextRange;
  nextRange += 10;
  return { first, last: first + count - 1 };
}

/** `await using drover = await startDrover()`: Redis, API and one worker of a host, real, in this process. */
export async function startDrover(options: DroverOptions = {}) {
  const scope = new Scope();
  const redis = options.redis ?? scope.own(await startRedis(), (server) => server.stop());
  const stateDir = scope.own(mkdtempSync(join(tmpdir(), "drv-")), removeStateDir);
  const rom =
    options.rom === undefined ? undefined : scope.own(await makeRomMachine(options.rom), (made) => made.dispose());
  const ports = options.ports ?? nextPorts();
  const env: Record<string, string> = {
    HOME: stateDir,
    ...quickGuestEnv(),
    ...rom?.env,
    DROVER_REDIS_URL: redis.url,
    DROVER_REDIS_PREFIX: `{t${process.pid}-${ports.first}}`,
    DROVER_STATE_DIR: stateDir,
    MANAGER_HTTP_PORT: String(await freePort()),
    MANAGER_GRPC_PORT: "0",
    MANAGER_QEMU_HOST_FWD_RANGE: `${ports.first}-${ports.last}`,
    DROVER_HOST_LOST: "hold", // no guard outlives a test that does not ask for one
    DROVER_BACKOFF: "50ms",
    DROVER_RECONCILE_INTERVAL: "1s",
    DROVER_SWEEP_INTERVAL: "200ms",
    DROVER_STOP_POWERDOWN_TIMEOUT: "10s",
    MANAGER_LOG_LEVEL: "warn",
    ...options.env,
  };
  const { config } = loadConfig(env);
  const lines: string[] = [];
  const logger = pino({ level: config.manager.logLevel }, { write: (line: string) => void lines.push(line) });
  const traced = options.tracing === undefined ? {} : { tracing: options.tracing };
  const api = scope.own(await startApi({ config, logger, ...traced }), (running) => running.close());
  const keys = redisKeys(config.redis.prefix);
  const client = scope.own(openRedis({ ...config.redis, role: "worker", name: "test-eye", logger }), (opened) =>
    opened.disconnect(),
  );
  /** A worker of this host, with other variables if wanted. It ends with the world at the latest. */
  const runWorker = async (over: Record<string, string> = {}): Promise<StartedWorker> =>
    scope.own(await startWorker({ config: loadConfig({ ...env, ...over }).config, logger, ...traced }), (worker) =>
      worker.stop("stop"),
    );
  const worker = options.worker === false ? undefined : await runWorker();

  const call = async (path: string, init: RequestInit = {}) => fetch(`${api.url}${path}`, init);
  const get = async (vmId: string) => VmDetail.parse(await (await call(`/v1/vms/${vmId}`)).json());
  const events = async (vmId: string): Promise<CloudEvent[]> => {
    const all = await new EventLog({ redis: client, keys }).read({ after: "0", count: 10_000 });
    return all.filter(({ event }) => event.subject === vmId).map(({ event }) => event);
  };

  return {
    api,
    worker,
    runWorker,
    config,
    keys,
    redis,
    client,
    stateDir,
    ports,
    env,
    /** Everything that API and worker have logged. */
    logs: () => lines.join(""),
    call,
    get,
    events,
    async chooseGuest(guest: RomGuest): Promise<void> {
      if (rom === undefined) throw new Error("this world runs the demo guest");
      await rom.choose(guest);
    },
    async submit(request: SubmitBody = {}, headers: Record<string, string> = {}): Promise<string> {
      const response = await call("/v1/vms", {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(request),
      });
      const body: unknown = await response.json();
      if (response.status !== 202) throw new Error(`submit was answered ${response.status}: ${JSON.stringify(body)}`);
      return (body as { id: string }).id;
    },
    async remove(vmId: string, query = ""): Promise<Response> {
      return call(`/v1/vms/${vmId}${query}`, { method: "DELETE" });
    },
    async retry(vmId: string): Promise<Response> {
      return call(`/v1/vms/${vmId}/retry`, { method: "POST" });
    },
    async until(vmId: string, state: VmState | readonly VmState[], timeoutMs = 60_000): Promise<VmDetail> {
      const wanted = [state].flat();
      return waitFor(
        async () => {
          const vm = await get(vmId);
          if (wanted.includes(vm.state)) return vm;
          if (isFinal(vm.state)) throw new Unexpected(describe(vm));
          return undefined;
        },
        {
          timeoutMs,
          intervalMs: 50,
          what: `VM ${vmId} to be ${wanted.join(" or ")}`,
          fatal: (error) => error instanceof Unexpected,
        },
      );
    },
    /** The n-th event of a type, once it is there. States that last for milliseconds are seen here, not in `until`. */
    async untilEvent(vmId: string, type: VmEventType, count = 1): Promise<CloudEvent> {
      return waitFor(async () => (await events(vmId)).filter((event) => event.type === type)[count - 1], {
        timeoutMs: 60_000,
        what: `event ${count} of type ${type} of VM ${vmId}`,
      });
    },
    async [Symbol.asyncDispose]() {
      await scope.close();
    },
  };
}

/** VMs outlive their worker, and a test that failed has not removed them: nothing of it may burden the next one. */
export function removeStateDir(stateDir: string): void {
  for (const { pid } of findLaunchesOf(stateDir)) process.kill(pid, "SIGKILL");
  rmSync(stateDir, { recursive: true, force: true });
}

function describe({ state, cause, endReason, tail }: VmDetail): string {
  return `the VM is ${state}: ${JSON.stringify(cause ?? endReason)} ${tail?.console.slice(-500) ?? ""} ${tail?.qemu.slice(-500) ?? ""}`;
}

class Unexpected extends Error {}

export type Drover = Awaited<ReturnType<typeof startDrover>>;
