import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { Ownership } from "../../src/queue/ownership.ts";
import { timeScripts } from "../../src/queue/script-timing.ts";
import { Meter } from "../../src/runtime/metrics/meter.ts";
import { MeteredStores } from "../../src/worker/metered-stores.ts";
import { FakeClock } from "../helpers/fake-clock.ts";
import { parseMetrics, type Sample, sampleOf } from "../helpers/metrics-text.ts";
import { openQueueWorld } from "../helpers/queue-world.ts";

const TOKEN_PREFIX = "host-a:state:";

/** Everything of src/queue as one host sees it, counted as a worker counts it. */
function openMeteredWorld() {
  const world = openQueueWorld();
  const meter = new Meter();
  meter.declare("worker");
  const clock = new FakeClock();
  const metered = new MeteredStores({ counting: meter, clock });
  timeScripts(world.redis, meter);
  const { redis, keys } = world;
  const ownership = new Ownership({ redis, keys, bootId: "boot-1", tokenPrefix: TOKEN_PREFIX, eventsMax: 1_000 });
  return {
    ...world,
    clock,
    claims: metered.claims(world.claims),
    launches: metered.launches(world.launches),
    ownership: metered.ownership(ownership),
    scrape: async (): Promise<readonly Sample[]> => parseMetrics(await meter.scrape()),
  };
}

type World = ReturnType<typeof openMeteredWorld>;

const token = () => `${TOKEN_PREFIX}boot-1:${randomUUID()}`;

/** Fetches the next VM and prepares it. */
async function take(world: World) {
  const job = await world.claims.fetch("default", token());
  if (job === undefined) throw new Error("nothing to fetch");
  const launch = world.identity(job);
  const prepared = await world.launches.prepare(launch, {});
  return { job, launch, prepared };
}

const running = { host: "host-a", epoch: 1, address: "10.0.0.1", port: 6100, bootMs: 1 };

async function moveTo(world: World, launch: Awaited<ReturnType<typeof take>>["launch"], to: "starting" | "running") {
  if (to === "starting") {
    const data = { host: "host-a", epoch: 1, port: 6100, pid: 1 };
    return world.launches.move(launch, { to, event: { type: "vm.starting", data }, progress: {} });
  }
  return world.launches.move(launch, { to, event: { type: "vm.running", data: running }, progress: {} });
}

test("phases of a launch are measured, and its end is counted with its cause", async () => {
  await using world = openMeteredWorld();
  expect(await world.claims.fetch("default", token())).toBeUndefined();
  await world.submit();
  const job = await world.claims.fetch("default", token());
  if (job === undefined) throw new Error("nothing to fetch");
  const launch = world.identity(job);
  world.clock.advance(1_000);
  await world.launches.prepare(launch, {});
  world.clock.advance(2_000);
  await moveTo(world, launch, "starting");
  world.clock.advance(4_000);
  await moveTo(world, launch, "running");
  const cause = { code: "guest_panic", message: "Kernel panic" } as const;
  const data = { host: "host-a", epoch: 1, cause, attempt: 1, attempts: 3, delayMs: 1 };
  await world.launches.move(launch, { to: "retrying", event: { type: "vm.retrying", data }, progress: {} });

  const samples = await world.scrape();
  const phase = (name: string) => sampleOf(samples, "drover_launch_phase_seconds_sum", { phase: name });
  expect([phase("preparing"), phase("starting"), phase("whole")]).toEqual([2, 4, 7]);
  expect(sampleOf(samples, "drover_launch_phase_seconds_count", { phase: "queued" })).toBe(1);
  expect(sampleOf(samples, "drover_fetches_total", { outcome: "job" })).toBe(1);
  expect(sampleOf(samples, "drover_fetches_total", { outcome: "empty" })).toBe(1);
  expect(sampleOf(samples, "drover_launches_ended_total", { outcome: "retrying" })).toBe(1);
  expect(sampleOf(samples, "drover_launch_failures_total", { cause: "guest_panic" })).toBe(1);
  expect(sampleOf(samples, "drover_redis_script_seconds_count", { script: "transition" })).toBe(3);
});

test("what goes back to the queue is told apart, and a completed VM is no failure", async () => {
  await using world = openMeteredWorld();
  const back = { pool: "default", delayMs: 1 };
  for (const reason of ["requeued", "released"] as const) {
    await world.submit();
    const { launch } = await take(world);
    const event = { type: "vm.queued", data: { ...back, reason } } as const;
    await world.launches.move(launch, { to: "queued", event, progress: {} });
  }
  await world.submit();
  const { launch } = await take(world);
  await moveTo(world, launch, "starting");
  await moveTo(world, launch, "running");
  const data = { host: "host-a", epoch: 1, reason: "guest_shutdown", exitCode: 0 };
  await world.launches.move(launch, { to: "completed", event: { type: "vm.completed", data }, progress: {} });
  const samples = await world.scrape();
  for (const outcome of ["requeued", "released", "completed"])
    expect(sampleOf(samples, "drover_launches_ended_total", { outcome }), outcome).toBe(1);
  expect(samples.filter(({ name, value }) => name === "drover_launch_failures_total" && value > 0)).toEqual([]);
});

test("moves of a launch that does not count any more are counted as fenced", async () => {
  await using world = openMeteredWorld();
  await world.submit();
  const { launch } = await take(world);
  const stale = { ...launch, token: token() };
  expect(await moveTo(world, stale, "starting")).toBe("not_owner");
  expect(await world.launches.prepare(stale, {})).toMatchObject({ kind: "not_owner" });
  const samples = await world.scrape();
  for (const action of ["prepare", "move"])
    expect(sampleOf(samples, "drover_fenced_writes_total", { action, why: "not_owner" }), action).toBe(1);
});

test("a launch that is taken over, and one that Redis has lost, are counted", async () => {
  await using world = openMeteredWorld();
  const vmId = await world.submit();
  const { launch, job } = await take(world);
  await moveTo(world, launch, "starting");
  await moveTo(world, launch, "running");
  const next = { ...launch, token: token() };
  expect(await world.ownership.claim(next)).toMatchObject({ kind: "claimed" });
  await world.redis.del(world.keys.record(vmId));
  if (!job.data.ok) throw new Error("the job cannot be read");
  const live = { identity: next, state: "running", port: 6100, snapshot: undefined, fields: {} } as const;
  await world.ownership.reassert({ ...live, job: job.data.value, deadlineAtMs: undefined });
  const samples = await world.scrape();
  expect(sampleOf(samples, "drover_adoptions_total", { outcome: "claimed" })).toBe(1);
  expect(sampleOf(samples, "drover_reassertions_total", { outcome: "reasserted" })).toBe(1);
});
