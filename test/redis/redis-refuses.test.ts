import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type RunningApi, startApi } from "../../src/producer/start-api.ts";
import { openRedis, type RedisClient } from "../../src/queue/connection.ts";
import { EventLog } from "../../src/queue/event-log.ts";
import { JobClaims } from "../../src/queue/job-claims.ts";
import { LaunchStore } from "../../src/queue/launch-store.ts";
import { type RedisKeys, redisKeys } from "../../src/queue/redis-keys.ts";
import { checkRedisPolicy } from "../../src/queue/redis-policy.ts";
import { RemovalJobs } from "../../src/queue/removal-jobs.ts";
import { VmQueue } from "../../src/queue/vm-queue.ts";
import { VmUpkeep } from "../../src/queue/vm-upkeep.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { KEEP } from "../helpers/queue-world.ts";
import { freePort, type RedisServer, startRedis } from "../helpers/redis-server.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { testConfig } from "./http-world.ts";

/** Clients are promised 250 ms; a loaded test machine may take longer, a hang takes seconds. */
const ANSWER_MAX_MS = 1_000;
const PREFIX = "{refuses}";
const RANGE = { first: 6100, last: 6200, reserved: [] };
const logger = pino({ level: "silent" });
const keep = { ...KEEP, completedMs: 0 };

let scope: Scope;
let dir: string;
let port: number;
let url: string;
let server: RedisServer;
let keys: RedisKeys;
/** Over a connection of its own, as an operator's. */
let redis: RedisClient;
let api: RunningApi;

beforeEach(async () => {
  scope = new Scope();
  dir = scope.own(mkdtempSync(join(tmpdir(), "drover-ref-")), (path) => rmSync(path, { recursive: true, force: true }));
  port = await freePort();
  url = `redis://127.0.0.1:${port}`;
  keys = redisKeys(PREFIX);
  server = await openServer();
  redis = open("operator");
  const config = testConfig({ url, prefix: PREFIX, env: { DROVER_SWEEP_INTERVAL: "100ms" } });
  api = scope.own(await startApi({ config, logger }), (running) => running.close());
  await waitFor(async () => (await fetch(`${api.url}/ready`)).status === 200);
});
afterEach(() => scope.close());

async function openServer(args: readonly string[] = []) {
  const debug = ["--enable-debug-command", "yes", "--busy-reply-threshold", "50"];
  return scope.own(await startRedis({ local: true, port, dir, args: [...debug, ...args] }), (owned) => owned.stop());
}
function open(name: string, role: "worker" | "blocking" = "worker"): RedisClient {
  return scope.own(openRedis({ url, role, name, logger }), (client) => client.disconnect());
}

interface Answer {
  readonly status: number;
  readonly ms: number;
  readonly body: { id?: string; state?: string; code?: string; detail?: string };
  readonly headers: Headers;
}
async function ask(path: string, init: RequestInit = {}): Promise<Answer> {
  const startedMs = performance.now();
  const response = await fetch(`${api.url}${path}`, { ...init, signal: AbortSignal.timeout(10_000) });
  const body = (await response.json()) as Answer["body"];
  return { status: response.status, ms: performance.now() - startedMs, body, headers: response.headers };
}
const submit = () => ask("/v1/vms", { method: "POST", body: "{}", headers: { "content-type": "application/json" } });

async function expectRefused(answer: Answer): Promise<void> {
  expect(answer.status).toBe(503);
  expect(answer.body).toMatchObject({ code: "redis_unavailable" });
  expect(answer.headers.get("retry-after")).toBe("1");
  expect(answer.headers.get("content-type")).toMatch("application/problem+json");
  expect(answer.ms).toBeLessThan(ANSWER_MAX_MS);
}

interface Fault {
  readonly name: string;
  /** Whether a live Redis serves reads meanwhile. */
  readonly reads: boolean;
  readonly begin: () => Promise<() => Promise<unknown>>;
}
const FAULTS: readonly Fault[] = [
  {
    name: "READONLY",
    reads: true,
    begin: async () => {
      await redis.call("REPLICAOF", "127.0.0.1", String(await freePort()));
      return () => redis.call("REPLICAOF", "NO", "ONE");
    },
  },
  {
    name: "OOM",
    reads: true,
    begin: async () => {
      await redis.config("SET", "maxmemory", "1mb");
      return () => redis.config("SET", "maxmemory", "0");
    },
  },
  {
    name: "MISCONF",
    reads: true,
    begin: async () => {
      await redis.config("SET", "save", "3600 1");
      rmSync(dir, { recursive: true });
      await redis.bgsave();
      await waitFor(async () => (await redis.info("persistence")).includes("rdb_last_bgsave_status:err"));
      return () => redis.config("SET", "stop-writes-on-bgsave-error", "no");
    },
  },
  {
    name: "NOREPLICAS",
    reads: true,
    begin: async () => {
      await redis.config("SET", "min-replicas-to-write", "1");
      return () => redis.config("SET", "min-replicas-to-write", "0");
    },
  },
  {
    name: "BUSY",
    reads: false,
    begin: async () => {
      const busy = open("busy")
        .eval("while true do end", 0)
        .catch(() => undefined); // it is killed
      await waitFor(() =>
        redis.ping().then(
          () => false,
          (error) => String(error).includes("BUSY"),
        ),
      );
      return async () => {
        await redis.script("KILL");
        await busy;
      };
    },
  },
];

test.each(FAULTS)("$name: writes get 503 in time, nothing is accepted, and all goes on by itself", async (fault) => {
  const before = await submit();
  expect(before.status).toBe(202);
  const end = await fault.begin();
  const answers = [await submit(), await submit(), await submit()];
  for (const answer of answers) await expectRefused(answer);
  if (fault.reads) {
    expect(answers[0]?.body.detail).toContain(`(${fault.name})`);
    const read = async () => (await ask(`/v1/vms/${before.body.id}`)).body.state === "queued";
    await waitFor(read, { timeoutMs: 2_000, what: "reads to go on" }); // READONLY is left once for a better server
  }
  await end();
  await waitFor(async () => (await submit()).status === 202, { timeoutMs: 5_000, what: "the API to accept again" });
  const { items } = (await ask("/v1/vms")).body as { items?: unknown[] };
  expect(items).toHaveLength(2);
});

test("LOADING: 503 in time until the data is there, then the API serves within moments", async () => {
  await redis.call("DEBUG", "POPULATE", "20000");
  const { body } = await submit();
  await redis.save();
  await server.stop();
  // Every key takes this many microseconds to load; Redis answers in between.
  const slowLoad = ["--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024"];
  const loading = openServer(slowLoad);
  const probe = scope.own(openRedis({ url, role: "api", name: "probe", logger }), (client) => client.disconnect());
  await waitFor(() => probe.call("INFO", "persistence").then((info) => String(info).includes("loading:1")));
  await expectRefused(await submit());
  await expectRefused(await ask(`/v1/vms/${body.id}`));
  await loading;
  const loadedMs = performance.now();
  await waitFor(async () => (await submit()).status === 202, { timeoutMs: 5_000, what: "the API to serve" });
  expect(performance.now() - loadedMs).toBeLessThan(3_000);
  expect((await ask(`/v1/vms/${body.id}`)).body.state).toBe("queued");
});

/** One VM that waits and one that runs, and the parts of a worker. */
async function withRunningVm() {
  const worker = open("worker");
  const queue = scope.own(new VmQueue({ redis: worker, keys, logger }), (owned) => owned.close());
  const claims = scope.own(new JobClaims({ redis: worker, keys, hostId: "host-a", logger }), (owned) => owned.close());
  const launches = new LaunchStore({ redis: worker, keys, bootId: "b", range: RANGE, eventsMax: 1_000, keep });
  const running = (await submit()).body.id ?? "";
  const job = await waitFor(() => claims.fetch("default", "host-a:s:b:1"));
  const launch = {
    vmId: running,
    pool: "default",
    priority: "normal",
    host: "host-a",
    epoch: 1,
    token: job.token,
  } as const;
  await launches.prepare(launch, {});
  const starting = { type: "vm.starting", data: { host: "host-a", epoch: 1, port: 6100, pid: 4 } } as const;
  await launches.move(launch, { to: "starting", event: starting, progress: {} });
  const waiting = (await submit()).body.id ?? "";
  return { worker, queue, claims, launches, launch, job, running, waiting };
}
const REMOVED = { type: "vm.removed", data: { reason: "requested" } } as const;
const LEFT = { box: "delete", tail: { console: "c", qemu: "q" }, final: true, keepMs: 0 } as const;

test("a full Redis can still be told of removals and ends, and clears what is over", async () => {
  const { worker, claims, launches, launch, job, running, waiting } = await withRunningVm();
  await redis.config("SET", "maxmemory", "1mb");
  await expectRefused(await submit());
  await expect(claims.fetch("default", "host-a:s:b:2")).rejects.toThrow(/^OOM/);

  expect((await ask(`/v1/vms/${waiting}`, { method: "DELETE" })).body.state).toBe("removed");
  expect((await ask(`/v1/vms/${running}`, { method: "DELETE" })).status).toBe(202);
  const move = { to: "removed", event: REMOVED, progress: {}, leave: LEFT } as const;
  expect(await launches.move(launch, move)).toBe("done");
  await claims.complete(job, { outcome: "removed" });
  const events = await new EventLog({ redis: worker, keys }).read({ after: "0", count: 100 });
  const ends = events.filter(({ event }) => event.type === "vm.removed").map(({ event }) => event.subject);
  expect(ends).toEqual([waiting, running]);
  const upkeep = new VmUpkeep({ redis: worker, keys, keep });
  // The waiting VM is kept for as long as the API says; the other one's time is over at once.
  await waitFor(async () => (await upkeep.purgeExpired(10)) > 0 || (await redis.exists(keys.record(running))) === 0);
  expect(await redis.exists(keys.record(running), keys.bull("vm.default", running))).toBe(0);
  expect(await redis.hlen(keys.ports("b"))).toBe(0);
});

test("a worker's readers do not spin on a Redis that refuses, and go on when it does not", async () => {
  const { queue } = await withRunningVm();
  const onRemoval = vi.fn(async () => undefined);
  const bull = open("bull");
  await redis.config("SET", "maxmemory", "1mb");
  await redis.config("SET", "maxmemory", "0");
  await queue.notifyRemoval("host-a", "11111111-1111-4111-8111-111111111111");
  await redis.config("SET", "maxmemory", "1mb");
  const errors: unknown[] = [];
  const removals = new RemovalJobs({
    redis: bull,
    keys,
    hostId: "host-a",
    logger: { debug: (line: object) => void errors.push(line) } as unknown as typeof logger,
    onRemoval,
    onWish: () => undefined,
  });
  scope.own(removals, (owned) => owned.close());
  await waitFor(() => errors.length > 0, { what: "the reader to be refused" });
  await redis.config("RESETSTAT");
  await delay(2_000); // what happens in a time is counted: there is nothing to wait for
  const stats = await redis.info("commandstats");
  const calls = Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  expect(calls, "of all readers and sweepers in 2 s").toBeLessThan(100);
  expect(errors.length).toBeLessThan(10);
  await redis.config("SET", "maxmemory", "0");
  await waitFor(() => onRemoval.mock.calls.length === 1, { timeoutMs: 5_000, what: "the removal to be heard" });
});

test("a worker leaves a server that has become a replica, and finds back by itself when it takes writes again", async () => {
  const { claims, waiting, worker } = await withRunningVm();
  const connection = await worker.client("ID");
  await redis.call("REPLICAOF", "127.0.0.1", String(await freePort()));
  for (let i = 0; i < 3; i++) await expect(claims.fetch("default", `host-a:s:b:r${i}`)).rejects.toThrow(/^READONLY/);
  await waitFor(async () => (await worker.client("ID")) !== connection, { what: "another connection" });
  await redis.call("REPLICAOF", "NO", "ONE");
  const job = await waitFor(() => claims.fetch("default", "host-a:s:b:w"), { timeoutMs: 5_000 });
  expect(job.vmId).toBe(waiting);
  expect(worker.status).toBe("ready");
});

test("a Redis that may evict keys is refused, and one without a file is warned of", async () => {
  expect(await checkRedisPolicy(redis)).toEqual([expect.stringContaining("appendonly yes")]);
  await redis.config("SET", "maxmemory-policy", "allkeys-lru");
  await expect(checkRedisPolicy(redis)).rejects.toMatchObject({ code: "config_invalid" });
});

test.each([["6.2.14"], ["5.0.7"]])("a Redis of version %s is refused, and says why", async (version) => {
  const old = { info: async (section: string) => (section === "server" ? `redis_version:${version}\r\n` : "") };
  await expect(checkRedisPolicy(old as unknown as RedisClient)).rejects.toThrow(
    `Redis is of version ${version}; drover needs 7.0 or newer`,
  );
});
