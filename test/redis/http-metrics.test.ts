import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { TokenStore } from "../../src/queue/token-store.ts";
import { METRICS_OF } from "../../src/runtime/metrics/metric-catalogue.ts";
import { canariesIn, SECRET_FIELDS } from "../helpers/canaries.ts";
import { hostDescription } from "../helpers/host-descriptions.ts";
import { parseMetrics, type Sample, sampleOf } from "../helpers/metrics-text.ts";
import { startRedisProxy } from "../helpers/redis-proxy.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openTestHost, type TestHost } from "./http-host.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

const LEASE_MS = 3_600_000;

let world: HttpWorld;
let host: TestHost;
beforeAll(async () => {
  world = await openHttpWorld();
  host = openTestHost(world);
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

async function scrape(of: HttpWorld = world, headers: Record<string, string> = {}): Promise<readonly Sample[]> {
  const reply = await of.app.inject({ url: "/metrics", headers });
  expect(reply.statusCode).toBe(200);
  expect(reply.headers["content-type"]).toContain("text/plain; version=0.0.4");
  return parseMetrics(reply.body);
}

/** What is read from Redis serves for two seconds: until it tells of what a test has done. */
async function scrapeUntil(is: (samples: readonly Sample[]) => boolean, what: string): Promise<readonly Sample[]> {
  const told = async () => {
    const samples = await scrape();
    return is(samples) ? samples : undefined;
  };
  return waitFor(told, { what, timeoutMs: 6_000 });
}

const submit = (of: HttpWorld, payload: object = {}) => of.app.inject({ method: "POST", url: "/v1/vms", payload });

test("the queue, the hosts and Redis are shown as they stand", async () => {
  await world.deps.hosts.take(hostDescription(), LEASE_MS);
  await world.deps.hosts.take(
    hostDescription({
      hostId: "host-b",
      slots: 0,
      breaker: { openUntilMs: Date.now() + LEASE_MS, failures: 3, cause: null },
    }),
    LEASE_MS,
  );
  await submit(world);
  await host.run(await host.take());
  for (let count = 0; count < 3; count++) await submit(world);
  await submit(world, { pool: "blue" });
  const samples = await scrapeUntil((seen) => sampleOf(seen, "drover_vms", { state: "queued" }) === 4, "4 queued VMs");
  expect(sampleOf(samples, "drover_vms", { state: "running" })).toBe(1);
  expect(sampleOf(samples, "drover_queue_vms", { pool: "default", place: "waiting" })).toBe(3);
  expect(sampleOf(samples, "drover_queue_vms", { pool: "default", place: "active" })).toBe(1);
  expect(sampleOf(samples, "drover_queue_vms", { pool: "blue", place: "waiting" })).toBe(1);
  expect(sampleOf(samples, "drover_pool_hosts", { pool: "default" })).toBe(2);
  expect(sampleOf(samples, "drover_pool_hosts", { pool: "blue" }), "nobody takes these").toBe(0);
  const age = sampleOf(samples, "drover_queue_oldest_age_seconds", { pool: "blue" });
  expect(age).toBeGreaterThanOrEqual(0);
  expect(age).toBeLessThan(20);
  expect(sampleOf(samples, "drover_hosts", { status: "live" })).toBe(2);
  expect(sampleOf(samples, "drover_hosts_paused")).toBe(1);
  expect(sampleOf(samples, "drover_fleet_slots"), "4, and one of 101 ports").toBe(105);
  expect(sampleOf(samples, "drover_redis_up")).toBe(1);
  expect(sampleOf(samples, "drover_redis_memory_used_bytes")).toBeGreaterThan(100_000);
  expect(sampleOf(samples, "drover_redis_script_seconds_count", { script: "accept" })).toBe(5);
  expect(sampleOf(samples, "drover_secret_keys")).toBe(1);
});

test("requests are counted by their route, and by nothing that a client makes up", async () => {
  const submits = (samples: readonly Sample[]) => [
    sampleOf(samples, "drover_http_requests_total", { method: "POST", route: "/v1/vms", status: "202" }) ?? 0,
    sampleOf(samples, "drover_http_request_seconds_count", { route: "/v1/vms" }) ?? 0,
  ];
  const [counted = 0, timed = 0] = submits(await scrape());
  await submit(world);
  for (const id of ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"])
    await world.app.inject(`/v1/vms/${id}`);
  for (const path of ["/nothing", "/nothing/else?a=1"]) await world.app.inject(path);
  const samples = await scrape();
  expect(submits(samples)).toEqual([counted + 1, timed + 1]);
  for (const route of ["/v1/vms/:id", "none"])
    expect(sampleOf(samples, "drover_http_requests_total", { method: "GET", route, status: "404" }), route).toBe(2);
});

test("every name and every label is in the catalogue, and no series is anybody's own", async () => {
  await submit(world, { name: "CanaryName", labels: { team: "CanaryLabel" }, ...SECRET_FIELDS });
  await world.app.inject({ url: "/metrics", headers: { "x-made-up": "CanaryHeader" } });
  const { body } = await world.app.inject("/metrics");
  expect(body).not.toMatch(/Canary|local|host-a|[0-9a-f]{8}-[0-9a-f]{4}-/);
  expect(canariesIn(body)).toEqual([]);
  const known: Readonly<Record<string, { labels: object }>> = METRICS_OF.api;
  for (const { name, labels } of parseMetrics(body)) {
    const spec = known[name] ?? known[name.replace(/_(bucket|sum|count)$/, "")];
    expect(spec, name).toBeDefined();
    const allowed = [...Object.keys(spec?.labels ?? {}), "le", "quantile"];
    expect(allowed, name).toEqual(expect.arrayContaining(Object.keys(labels)));
  }
});

test("however many pools requests name, a scrape stays small", async () => {
  await using crowded = await openHttpWorld();
  for (let count = 0; count < 130; count++) await submit(crowded, { pool: `pool-${count}` });
  const samples = await scrape(crowded);
  const pools = samples.filter(({ name }) => name === "drover_queue_vms").map(({ labels }) => labels["pool"]);
  expect(new Set(pools).size).toBe(101);
  expect(sampleOf(samples, "drover_queue_vms", { pool: "other", place: "waiting" })).toBe(30);
  expect(samples.length).toBeLessThan(1_000);
});

test("two who scrape at the same time ask Redis once", async () => {
  await using quiet = await openHttpWorld();
  const asked = async () =>
    Number(/calls=(\d+)/.exec(/cmdstat_info:.*/.exec(await quiet.redis.info("commandstats"))?.[0] ?? "")?.[1]);
  const before = await asked();
  await Promise.all([scrape(quiet), scrape(quiet), scrape(quiet)]);
  await scrape(quiet);
  expect((await asked()) - before - 1, "without this test's own").toBe(1);
});

test("only an operator sees them, and goes on seeing them while Redis is away, without anything stale", async () => {
  await using proxy = await startRedisProxy(inject("redisUrl"));
  const env = { DROVER_REDIS_URL: proxy.url };
  await using api = await openHttpWorld({ env });
  const tokens = new TokenStore(api);
  const token = async (role: "viewer" | "operator") =>
    (await tokens.add({ owner: "ops", role, label: "", createdBy: "test", expiresAtMs: undefined })).text;
  const as = (text: string) => ({ authorization: `Bearer ${text}` });
  const [operator, viewer] = [as(await token("operator")), as(await token("viewer"))];
  const status = async (headers: Record<string, string>) =>
    (await api.app.inject({ url: "/metrics", headers })).statusCode;
  expect(await status(viewer)).toBe(403);
  await waitFor(async () => ((await status({})) === 401 ? true : undefined), {
    what: "tokens to count",
    timeoutMs: 8_000,
  });
  const before = await scrape(api, operator);
  expect(sampleOf(before, "drover_redis_up")).toBe(1);
  expect(sampleOf(before, "drover_vms", { state: "queued" })).toBe(0);
  expect(sampleOf(before, "drover_access_refused_total", { protocol: "http", outcome: "forbidden" })).toBe(1);
  const light = proxy.blackhole();
  let during: readonly Sample[] = [];
  await waitFor(
    async () => {
      during = await scrape(api, operator);
      return sampleOf(during, "drover_redis_up") === 0 ? true : undefined;
    },
    { what: "a scrape that says that Redis is away", timeoutMs: 8_000 },
  );
  expect(during.filter(({ name }) => name === "drover_vms" || name === "drover_queue_vms")).toEqual([]);
  expect(
    during
      .filter(({ name }) => name.startsWith("drover_redis_"))
      .filter(({ name }) => !/^drover_redis_(up|script)/.test(name)),
  ).toEqual([]);
  expect(sampleOf(during, "drover_secret_keys"), "its own it knows").toBe(1);
  // Whom nobody has let in before does not get in now.
  await waitFor(async () => ((await status(as("drover_made_up"))) === 503 ? true : undefined), {
    what: "a stranger's 503",
  });
  light();
  proxy.reset(); // else the connections of before are given up only after their own time
  await waitFor(async () => (sampleOf(await scrape(api, operator), "drover_redis_up") === 1 ? true : undefined), {
    what: "Redis to be back",
    timeoutMs: 10_000,
  });
});
