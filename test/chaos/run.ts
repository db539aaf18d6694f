import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { checkAll } from "./checkers/all.ts";
import { Clients, isStayer } from "./clients.ts";
import { EventReader } from "./event-readers.ts";
import { openVms, readRedis, scanLeftovers, scanSecrets } from "./final-scan.ts";
import { type History, nowMs, type Violation, writeHistory } from "./history.ts";
import { Nemesis } from "./nemesis.ts";
import { describePlan, type Plan, repeatCommand } from "./plan.ts";
import { HOSTS, TIMINGS, World } from "./world.ts";

export interface RunResult {
  readonly plan: Plan;
  readonly history: History;
  readonly violations: readonly Violation[];
  /** Where the history was kept, when something is wrong with it. */
  readonly historyFile: string | undefined;
}

export interface RunOptions {
  /** `bin/drover` of another build. */
  readonly bin?: string | undefined;
  /** Ends the run early, with everything that it has started. */
  readonly signal?: AbortSignal | undefined;
  /** Keeps what the run has left on the disk, for whoever looks for the reason. */
  readonly keep?: boolean | undefined;
}

/** How long all VMs may take to end or stand still once every fault is over: a silent host has to be found lost first. */
const SETTLE_MS = 60_000;

/** One run: plan, faults under load, healing, rest, and everything that is wrong with what was seen. */
export async function runChaos(plan: Plan, { bin, keep, signal }: RunOptions = {}): Promise<RunResult> {
  const { seed, policy, onPartition, dataLoss, maxVms } = plan;
  await using world = await World.start({
    seed,
    policy,
    onPartition,
    dataLoss,
    maxVms,
    settleMs: SETTLE_MS,
    ...(bin === undefined ? {} : { bin }),
    ...(keep === undefined ? {} : { keep }),
  });
  const { recorder } = world;
  recorder.add(
    "run",
    {
      seed,
      policy,
      onPartition,
      dataLoss,
      settleMs: SETTLE_MS,
      leaseMs: TIMINGS.leaseMs,
      hostLostAfterMs: TIMINGS.hostLostAfterMs,
      hosts: world.ports,
    },
    { process: "run" },
  );
  const redis = world.client();
  const clients = new Clients({ url: world.apiUrl, recorder, seed });
  const readers: EventReader[] = [];
  try {
    await world.startApi();
    for (const name of ["r1", "r2"]) readers.push(new EventReader({ name, url: world.apiUrl, recorder, seed }));
    for (const { ready } of HOSTS.map((host) => world.startWorker(host, maxVms)))
      if (!(await ready)) throw new Error(`a worker did not start; its output is in ${world.dir}`);
    const offsetMs = nowMs() - Date.now();
    await play(plan, world, clients, signal);
    await settle(world, redis, clients);
    signal?.throwIfAborted();
    await scanSecrets(world, redis);
    await scanLeftovers(world, redis, "live");
    clients.removeStayers();
    await clients.settle();
    await untilNoneOpen(world, redis, () => false, SETTLE_MS);
    await scanLeftovers(world, redis, "empty");
    const lastId = await readRedis(world, redis, offsetMs);
    const deadline = nowMs() + 5_000;
    while (readers.some((reader) => !reader.hasReached(lastId)) && nowMs() < deadline) await delay(50);
  } finally {
    clients.close();
    for (const reader of readers) await reader.stop();
    redis.disconnect();
    world.sampler.sample();
    world.collect();
  }
  const history = recorder.history();
  const violations = checkAll(history);
  return { plan, history, violations, historyFile: violations.length === 0 ? undefined : keepHistory(seed, history) };
}

/** Operations and faults at their times, then everything is healed. */
async function play(plan: Plan, world: World, clients: Clients, signal?: AbortSignal): Promise<void> {
  const nemesis = new Nemesis(world);
  const over = new AbortController();
  const startedMs = nowMs();
  const steps = [
    ...plan.ops.map((op) => ({ atMs: op.atMs, act: () => clients.begin(op) })),
    ...plan.faults.map((fault) => ({ atMs: fault.atMs, act: () => nemesis.inflict(fault, over.signal) })),
  ].sort((a, b) => a.atMs - b.atMs);
  try {
    for (const { atMs, act } of steps) {
      const waitMs = startedMs + atMs - nowMs();
      if (waitMs > 0) await delay(waitMs, undefined, signal === undefined ? {} : { signal });
      act();
    }
  } finally {
    over.abort();
    await nemesis.idle(); // a fault that is undone later would start what nobody ends
  }
  for (const edge of Object.values(world.edges)) edge.heal();
  world.recorder.add("healed", {}, { process: "nemesis" });
}

async function settle(world: World, redis: ReturnType<World["client"]>, clients: Clients): Promise<void> {
  const healedMs = nowMs();
  // A worker with all its slots again, so that what waits has where to go.
  for (const host of HOSTS) {
    if (world.hasWorker(host) && world.slotsOf(host) === world.options.maxVms) continue;
    await world.endWorker(host, "SIGTERM");
    world.startWorker(host);
  }
  clients.removeRest({ again: world.options.dataLoss });
  const stayers = () => new Set(clients.submissions.filter(({ plan }) => isStayer(plan)).map(({ vmId }) => vmId));
  const open = await untilNoneOpen(world, redis, (vmId) => stayers().has(vmId), SETTLE_MS);
  clients.close();
  await clients.settle();
  world.recorder.add("settled", { tookMs: nowMs() - healedMs, open }, { process: "run" });
}

/** Waits until all has ended or stands still; gives what is open when time is up. */
async function untilNoneOpen(
  world: World,
  redis: ReturnType<World["client"]>,
  mayStay: (vmId: string) => boolean,
  timeoutMs: number,
): Promise<string[]> {
  let open: string[] = [];
  for (const deadline = nowMs() + timeoutMs; nowMs() < deadline; await delay(100)) {
    open = await openVms(world, redis, mayStay);
    if (open.length === 0) return [];
  }
  return open;
}

function keepHistory(seed: string, history: History): string {
  const dir = join(tmpdir(), "drover-chaos");
  mkdirSync(dir, { recursive: true });
  const path = join(dir, `${seed.replace(/[^\w.-]/g, "_")}-${Date.now()}.jsonl`);
  writeHistory(path, history);
  return path;
}

/** What stands in the output of a run that found something. */
export function describeViolations({ plan, violations, historyFile }: RunResult): string {
  const lines = violations.map(({ invariant, vmId, message }) => `  ${invariant} ${vmId ?? ""} ${message}`);
  return [
    describePlan(plan),
    `${violations.length} violations; the history is in ${historyFile}`,
    ...lines.slice(0, 40),
    `again: ${repeatCommand(plan)}`,
  ].join("\n");
}
