import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type RunningApi, startApi } from "../../src/producer/start-api.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { freePort, type RedisServer, startRedis } from "../helpers/redis-server.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { testConfig } from "./http-world.ts";

/** Promised to clients; measured from the request to the end of its answer. */
const ANSWER_MAX_MS = 250;
const BACK_MAX_MS = 5_000;
const ID = "11111111-1111-4111-8111-111111111111";
const logger = pino({ level: "silent" });

let scope: Scope;
let dir: string;
let port: number;
beforeEach(async () => {
  scope = new Scope();
  dir = mkdtempSync(join(tmpdir(), "drover-down-"));
  scope.own(dir, (path) => rmSync(path, { recursive: true, force: true }));
  port = await freePort();
});
afterEach(() => scope.close());

/** Our own Redis: with its data on disk, so that it can be killed and started again. */
async function openRedisServer(): Promise<RedisServer> {
  const server = await startRedis({ local: true, port, dir, args: ["--appendonly", "yes", "--appendfsync", "always"] });
  return scope.own(server, () => {
    signal(server, "SIGCONT"); // a stopped process does not hear of its end
    return server.stop();
  });
}

async function openApi(): Promise<RunningApi> {
  const config = testConfig({ url: `redis://127.0.0.1:${port}`, prefix: "{drover-down}" });
  return scope.own(await startApi({ config, logger, limits: { consolePollMs: 20 } }), (api) => api.close());
}

function signal({ pid }: RedisServer, name: "SIGSTOP" | "SIGCONT"): void {
  try {
    if (pid !== undefined) process.kill(pid, name);
  } catch {
    // It has ended already.
  }
}

interface Answer {
  readonly status: number;
  readonly ms: number;
  readonly body: string;
  readonly headers: Headers;
}

async function ask(api: RunningApi, path: string, init: RequestInit = {}): Promise<Answer> {
  const startedMs = performance.now();
  const response = await fetch(`${api.url}${path}`, { ...init, signal: AbortSignal.timeout(10_000) });
  const body = await response.text();
  return { status: response.status, ms: performance.now() - startedMs, body, headers: response.headers };
}
const submit = (api: RunningApi, headers: Record<string, string> = {}) =>
  ask(api, "/v1/vms", { method: "POST", body: "{}", headers: { "content-type": "application/json", ...headers } });

const NEEDS_REDIS: readonly (readonly [path: string, init: RequestInit])[] = [
  ["/v1/vms", { method: "POST", body: "{}", headers: { "content-type": "application/json" } }],
  ["/v1/vms", {}],
  [`/v1/vms/${ID}`, {}],
  [`/v1/vms/${ID}`, { method: "DELETE" }],
  [`/v1/vms/${ID}/retry`, { method: "POST" }],
  [`/v1/vms/${ID}/console`, {}],
  [`/v1/vms/${ID}/console?follow`, {}],
  ["/v1/events", {}],
  ["/v1/failures", {}],
  ["/v1/failures/guest_panic@host-a/retry", { method: "POST" }],
  ["/v1/failures/guest_panic@host-a/dismiss", { method: "POST" }],
  ["/board/api/queues", {}],
];

async function expectUnavailable(api: RunningApi): Promise<void> {
  for (const [path, init] of NEEDS_REDIS) {
    const answer = await ask(api, path, init);
    expect(answer.status, path).toBe(503);
    expect(JSON.parse(answer.body), path).toMatchObject({ code: "redis_unavailable", status: 503 });
    expect(answer.headers.get("retry-after"), path).toBe("1");
    expect(answer.ms, path).toBeLessThan(ANSWER_MAX_MS);
  }
  const ready = await ask(api, "/ready");
  expect([ready.status, ready.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(JSON.parse(ready.body)).toEqual({
    status: "not_ready",
    reasons: [{ code: "redis_unavailable", message: "Redis does not answer" }],
  });
  expect(ready.ms).toBeLessThan(ANSWER_MAX_MS);
  for (const path of ["/health", "/pages/drover.css"]) expect((await ask(api, path)).status, path).toBe(200);
}

const back = (api: RunningApi) =>
  waitFor(async () => (await submit(api)).status === 202, { timeoutMs: BACK_MAX_MS, what: "the API to serve again" });

test("an API that starts before its Redis says 503 to everything that needs it, and serves when it comes", async () => {
  const api = await openApi();
  await expectUnavailable(api);
  await openRedisServer();
  await back(api);
});

test("a Redis that is killed: 503 at once, and back after its restart with everything it had", async () => {
  const redis = await openRedisServer();
  const api = await openApi();
  await back(api);
  const before = JSON.parse((await ask(api, "/v1/vms")).body).items.length;
  await redis.stop();
  await expectUnavailable(api);
  await openRedisServer();
  await back(api);
  expect(JSON.parse((await ask(api, "/v1/vms")).body).items.length).toBe(before + 1);
});

test("a Redis that accepts and does not answer: 503 in time for all, from the first request on", async () => {
  const redis = await openRedisServer();
  const api = await openApi();
  await back(api);
  signal(redis, "SIGSTOP");
  const first = await Promise.all(NEEDS_REDIS.map(([path, init]) => ask(api, path, init)));
  expect(first.map(({ status }) => status)).toEqual(NEEDS_REDIS.map(() => 503));
  expect(Math.max(...first.map(({ ms }) => ms))).toBeLessThan(ANSWER_MAX_MS);
  await expectUnavailable(api);
  signal(redis, "SIGCONT");
  await back(api);
});

test("requests that are under way when Redis falls silent get their 503 too", async () => {
  const redis = await openRedisServer();
  const api = await openApi();
  await back(api);
  const answers: Promise<Answer>[] = [];
  let stoppedMs = 0;
  for (let i = 0; i < 40; i++) {
    answers.push(ask(api, "/v1/vms"));
    if (i === 20) {
      signal(redis, "SIGSTOP");
      stoppedMs = performance.now();
    }
  }
  const settled = await Promise.all(answers);
  expect(performance.now() - stoppedMs).toBeLessThan(ANSWER_MAX_MS + 250); // clients and server share one process here
  for (const { status } of settled) expect([200, 503]).toContain(status);
  expect(settled.some(({ status }) => status === 503)).toBe(true);
});

test("an open event stream and a followed console outlive a restart of Redis and miss nothing", async () => {
  const redis = await openRedisServer();
  const api = await openApi();
  await back(api);
  const { id } = JSON.parse((await submit(api)).body);
  const reading = new AbortController();
  const events = await fetch(`${api.url}/v1/events?type=vm.queued`, { signal: reading.signal });
  const console = await fetch(`${api.url}/v1/vms/${id}/console?follow`, { signal: reading.signal });
  let text = "";
  let open = true;
  void (async () => {
    for await (const chunk of events.body ?? []) text += Buffer.from(chunk).toString("utf8");
  })().catch(() => {
    open = false;
  });
  let consoleOpen = true;
  void console.text().then(
    () => {
      consoleOpen = false;
    },
    () => undefined,
  );
  await waitFor(() => text.includes("retry:"));
  await redis.stop();
  expect((await ask(api, "/v1/vms")).status).toBe(503);
  await openRedisServer();
  await back(api);
  const last = JSON.parse((await submit(api)).body).id;
  await waitFor(() => text.includes(last), { timeoutMs: BACK_MAX_MS });
  expect([open, consoleOpen]).toEqual([true, true]);
  reading.abort();
});

test("a wait goes on over an outage and gives what is known at its end", async () => {
  const redis = await openRedisServer();
  const api = await openApi();
  await back(api);
  const waiting = submit(api, { prefer: "wait=2" });
  await waitFor(async () => JSON.parse((await ask(api, "/v1/vms")).body).items.length === 2);
  await redis.stop();
  const answer = await waiting;
  expect([answer.status, JSON.parse(answer.body).state]).toEqual([202, "queued"]);
});

test.each(["gone", "silent"])("closing is quick while Redis is %s", async (how) => {
  const redis = await openRedisServer();
  const api = await openApi();
  await back(api);
  if (how === "silent") signal(redis, "SIGSTOP");
  else await redis.stop();
  await ask(api, "/v1/vms");
  const startedMs = performance.now();
  await api.close();
  await api.close();
  expect(performance.now() - startedMs).toBeLessThan(2_000);
});
