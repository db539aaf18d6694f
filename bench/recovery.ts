/**
 * How soon drover is itself again: after the death of a worker, of a QEMU, of a host and of Redis. Each figure stands
 * beside a floor or a peer of the same run: bare QMP, Node's own children, BullMQ with its settings as they come.
 *
 *     npm run bench:recovery -- [--vms 100] [--rounds 5] [--json FILE]
 *
 * Takes about four minutes: most of it is the waiting for leases to lapse that is measured.
 */
import { writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { EventTap } from "./event-tap.ts";
import { type Adoption, measureAdoption } from "./recovery/adoption.ts";
import { openStallPeer } from "./recovery/bullmq-stall.ts";
import { measureBareDeaths, measureDeaths } from "./recovery/deaths.ts";
import { Fleet } from "./recovery/fleet.ts";
import { type LostHosts, measureLostHosts } from "./recovery/lost-hosts.ts";
import { measureRedisReturn, type RedisReturn } from "./recovery/redis-return.ts";
import { formatSummary, summarize } from "./statistics.ts";

const DEATHS = 20;
const LOST_HOSTS = 3;
/**
 * The default is 5 min, which only adds waiting. Above 25 s a reaper looks as seldom as it does by default, and a lease
 * is the default's 30 s.
 */
const AFTER_MS = 40_000;
const OUTAGES_MS = [1_000, 2_000, 5_000, 10_000, 20_000];
const PEER_PHASE_MS = 10_000;

const { values } = parseArgs({
  options: {
    vms: { type: "string", default: "100" },
    rounds: { type: "string", default: "5" },
    json: { type: "string" },
  },
});
const vmCount = Number(values.vms);
const fleet = await Fleet.open();
const tap = await EventTap.open(fleet.url);
const say = (text: string) => process.stderr.write(`${text}\n`);

try {
  const { adoption, childDeaths, adoptedDeaths } = await oneHost();
  const { lost, stalledMs } = await lostHosts();
  const redis = await redisAway();
  report({ adoption, childDeaths, adoptedDeaths, bareDeaths: await measureBareDeaths(DEATHS), lost, stalledMs, redis });
} finally {
  tap.close();
  await fleet.close();
}

async function runVms(count: number): Promise<string[]> {
  const vmIds: string[] = [];
  for (let i = 0; i < count; i++) vmIds.push(await fleet.submit({ attempts: 1 }));
  await Promise.all(vmIds.map((vmId) => tap.arrival(vmId, "vm.running")));
  return vmIds;
}

async function removeVms(vmIds: readonly string[]): Promise<void> {
  await Promise.all(vmIds.map((vmId) => fleet.remove(vmId)));
  await Promise.all(vmIds.map((vmId) => tap.arrival(vmId, "vm.removed")));
}

async function oneHost() {
  say(`${vmCount} VMs on one host`);
  const empty = await fleet.host("empty", { DROVER_POOLS: "nothing" });
  const host = await fleet.host("adopts", { MANAGER_MAX_VMS: String(vmCount) });
  const early = await runVms(DEATHS);
  const childDeaths = await measureDeaths(host, early, tap);
  const vmIds = await runVms(vmCount);
  const adoption = await measureAdoption({ fleet, host, empty, tap }, vmIds, Number(values.rounds));
  const adoptedDeaths = await measureDeaths(host, vmIds.slice(0, DEATHS), tap);
  await removeVms(vmIds.slice(DEATHS));
  await Promise.all([host.kill(), empty.kill()]);
  return { adoption, childDeaths, adoptedDeaths };
}

/** The peers wait beside: their time is the same half minute. */
async function lostHosts(): Promise<{ lost: LostHosts; stalledMs: number[] }> {
  say("workers that die");
  const peers = [];
  for (let i = 0; i < LOST_HOSTS; i++) {
    if (i > 0) await delay(PEER_PHASE_MS); // at different moments of their checks
    peers.push(await openStallPeer(fleet.redisUrl, `peer-${i}`));
  }
  const over = { DROVER_HOST_LOST_AFTER: `${AFTER_MS}ms`, MANAGER_MAX_VMS: "1" };
  const hosts = await Promise.all(Array.from({ length: LOST_HOSTS }, (_, i) => fleet.host(`lost-${i}`, over)));
  const vmIds = await runVms(LOST_HOSTS);
  const onHost = await Promise.all(vmIds.map((vmId) => fleet.get<{ host: string }>(`/v1/vms/${vmId}`)));
  const inOrder = onHost.flatMap(({ host }) => hosts.filter(({ id }) => id === host));
  await fleet.host("survivor");
  const [lost, ...stalledMs] = await Promise.all([
    measureLostHosts({ fleet, tap }, inOrder, vmIds, AFTER_MS),
    ...peers.map((peer) => peer.killAndMeasure()),
  ]);
  await removeVms(vmIds);
  return { lost, stalledMs };
}

/** On the host that has survived. */
async function redisAway(): Promise<RedisReturn> {
  say("Redis that dies");
  return measureRedisReturn({ fleet, tap }, OUTAGES_MS);
}

interface Figures {
  readonly adoption: Adoption;
  readonly childDeaths: readonly number[];
  readonly adoptedDeaths: readonly number[];
  readonly bareDeaths: readonly number[];
  readonly lost: LostHosts;
  readonly stalledMs: readonly number[];
  readonly redis: RedisReturn;
}

function report(figures: Figures): void {
  const { adoption, childDeaths, adoptedDeaths, bareDeaths, lost, stalledMs, redis } = figures;
  const median = (values: readonly number[]) => summarize(values).median;
  const line = (what: string, values: readonly number[]) => `  ${what.padEnd(44)} ${formatSummary(summarize(values))}`;
  const ratio = (ours: readonly number[], other: readonly number[]) => (median(ours) / median(other)).toFixed(2);
  const without = (all: readonly number[], base: readonly number[]) => all.map((ms, round) => ms - (base[round] ?? 0));
  const ownMs = without(adoption.startedMs, adoption.emptyMs);
  const ownCpuMs = without(adoption.cpuMs, adoption.emptyCpuMs);
  process.stdout.write(
    [
      `${vmCount} VMs taken over after kill -9 of their worker (reach: 1 s)`,
      line("process start to fetching, all taken over", adoption.startedMs),
      line("process start to the last vm.adopted read", adoption.toldMs),
      line("the same process without VMs", adoption.emptyMs),
      line("what the VMs add", ownMs),
      line("  of it CPU time of the worker", ownCpuMs),
      line("bare QMP: connect, status, uuid of each", adoption.bareMs),
      `  ratio ${ratio(ownMs, adoption.bareMs)}   (${(median(ownMs) / vmCount).toFixed(1)} ms a VM)`,
      "kill -9 of a QEMU to vm.failed read (reach: 1 s)",
      line("a child of the worker", childDeaths),
      line("taken over from the worker before", adoptedDeaths),
      line("bare: Node hears of its own child", bareDeaths),
      "kill -9 of a worker, default timings",
      line("shown as unreachable (reach: 35 s)", lost.shownMs),
      line("BullMQ as it comes: the job elsewhere", stalledMs),
      `  ratio ${ratio(lost.shownMs, stalledMs)}   (others say: BullMQ 30-90 s, Nomad 20 s, Kubernetes minutes)`,
      `its VM runs elsewhere, DROVER_HOST_LOST_AFTER=${AFTER_MS / 1_000}s`,
      line("after the host counts as lost (reach: 15 s)", lost.elsewhereMs),
      line("after the kill", lost.sinceKillMs),
      `kill -9 of Redis with AOF, away for ${OUTAGES_MS.map((ms) => ms / 1_000).join(", ")} s`,
      line("its return to the first VM running (5 s)", redis.droverMs),
      line("BullMQ as it comes: to the first job", redis.bullmqMs),
      `  ratio of the longest ${(Math.max(...redis.droverMs) / Math.max(...redis.bullmqMs)).toFixed(2)}`,
      "",
    ].join("\n"),
  );
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`);
}
