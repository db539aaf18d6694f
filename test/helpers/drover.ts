import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { VmRequest } from "../../src/contract/vm-request.ts";
import { isFinal, type VmState } from "../../src/contract/vm-state.ts";
import { VmDetail } from "../../src/contract/vm-view.ts";
import { startApi } from "../../src/producer/start-api.ts";
import { openRedis } from "../../src/queue/connection.ts";
import { EventLog } from "../../src/queue/event-log.ts";
import { redisKeys } from "../../src/queue/redis-keys.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { startWorker } from "../../src/worker/start-worker.ts";
import { quickGuestEnv } from "./demo-guest.ts";
import { freePort, type RedisServer, startRedis } from "./redis-server.ts";
import { waitFor } from "./wait-for.ts";

export interface DroverOptions {
  /** Over those of a quick guest. */
  readonly env?: Record<string, string>;
  readonly redis?: RedisServer;
  readonly worker?: boolean;
  /** Forwarded ports: each world has its own, so that tests do not meet. */
  readonly ports?: { first: number; last: number };
}

let nextRange = 21_000 + (process.pid % 200) * 100;

/** `await using drover = await startDrover()`: Redis, API and one worker of a host, real, in this process. */
export async function startDrover(options: DroverOptions = {}) {
  const redis = options.redis ?? (await startRedis());
  const stateDir = mkdtempSync(join(tmpdir(), "drv-"));
  const first = nextRange;
  nextRange += 10;
  const ports = options.ports ?? { first, last: first + 9 };
  const env = {
    HOME: stateDir,
    ...quickGuestEnv(),
    DROVER_REDIS_URL: redis.url,
    DROVER_REDIS_PREFIX: `{t${process.pid}-${first}}`,
    DROVER_STATE_DIR: stateDir,
    MANAGER_HTTP_PORT: String(await freePort()),
    MANAGER_QEMU_HOST_FWD_RANGE: `${ports.first}-${ports.last}`,
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
  const api = await startApi({ config, logger });
  const worker = options.worker === false ? undefined : await startWorker({ config, logger });
  const keys = redisKeys(config.redis.prefix);
  const client = openRedis({ url: redis.url, role: "worker", name: "test-eye", logger });

  const call = async (path: string, init: RequestInit = {}) => fetch(`${api.url}${path}`, init);
  const get = async (vmId: string) => VmDetail.parse(await (await call(`/v1/vms/${vmId}`)).json());

  return {
    api,
    worker,
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
    async submit(
      request: VmRequest & Record<string, unknown> = {},
      headers: Record<string, string> = {},
    ): Promise<string> {
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
    async until(vmId: string, state: VmState | readonly VmState[], timeoutMs = 60_000): Promise<VmDetail> {
      const wanted = [state].flat();
      return waitFor(
        async () => {
          const vm = await get(vmId);
          if (wanted.includes(vm.state)) return vm;
          if (isFinal(vm.state))
            throw new Unexpected(
              `the VM is ${vm.state}: ${JSON.stringify(vm.cause ?? vm.endReason)} ${vm.tail?.console.slice(-500) ?? ""}`,
            );
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
    async events(vmId: string) {
      const all = await new EventLog({ redis: client, keys }).read({ after: "0", count: 10_000 });
      return all.filter(({ event }) => event.subject === vmId).map(({ event }) => event);
    },
    async [Symbol.asyncDispose]() {
      await worker?.stop();
      await api.close();
      client.disconnect();
      if (options.redis === undefined) await redis.stop();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

class Unexpected extends Error {}

export type Drover = Awaited<ReturnType<typeof startDrover>>;
