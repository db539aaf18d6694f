import { join } from "node:path";
import type { Logger } from "pino";
import { DamagedFile } from "../../qemu/durable-file.ts";
import { openRedis, type RedisClient } from "../../queue/connection.ts";
import { FleetFacts } from "../../queue/fleet-facts.ts";
import { HostRegistry } from "../../queue/host-registry.ts";
import { PortSlots } from "../../queue/port-slots.ts";
import { readRedisHealth, untilReady } from "../../queue/redis-health.ts";
import { type RedisKeys, redisKeys } from "../../queue/redis-keys.ts";
import { pause } from "../../runtime/bounded-wait.ts";
import { reservedPorts } from "../../runtime/config/reserved-ports.ts";
import type { Config } from "../../runtime/config-shape.ts";
import { forwardBindOf } from "../../runtime/forward-bind.ts";
import { attestationChecks } from "./attestation-checks.ts";
import { certificateChecks } from "./certificate-checks.ts";
import type { Check } from "./check.ts";
import { type ComparisonFacts, compare } from "./compare.ts";
import { hostChecks } from "./host-checks.ts";
import { type HostFacts, listeningPorts, readHostFacts } from "./host-facts.ts";
import { type LocalFacts, readLocalFacts } from "./local-facts.ts";
import { privilegeChecks } from "./privilege-checks.ts";
import { redisChecks } from "./redis-checks.ts";

const CONNECT_MS = 3_000;
const LOOK_AGAIN_MS = 500;
/** The connection's own bound: doctor may be asked exactly because Redis hangs. */
const COMMAND_MS = 5_000;

/** What an examination works with; `redis` is undefined when it cannot be reached, and `unreachable` says why. */
export interface Patient {
  readonly config: Config;
  readonly keys: RedisKeys;
  readonly redis: RedisClient | undefined;
  readonly unreachable: string | undefined;
}

/** Calls `use` with a connection, if Redis can be reached within 3 s. The connection ends with it. */
export async function withPatient<T>(
  { config, logger }: { config: Config; logger: Logger },
  use: (patient: Patient) => Promise<T>,
): Promise<T> {
  const { prefix } = config.redis;
  const options = { role: "api", name: "drover-doctor", commandTimeoutMs: COMMAND_MS, logger } as const;
  const redis = openRedis({ ...config.redis, ...options });
  try {
    const unreachable = await untilReady(redis, CONNECT_MS);
    const reached = unreachable === undefined ? redis : undefined;
    return await use({ config, keys: redisKeys(prefix), redis: reached, unreachable });
  } finally {
    redis.disconnect();
  }
}

/** Looks at everything and changes nothing. */
export async function examine(patient: Patient): Promise<readonly Check[]> {
  const { config, redis, unreachable } = patient;
  const vms = await attempt(() => compareSteadily(patient));
  const health = redis === undefined ? undefined : await attempt(() => readRedisHealth(redis));
  const facts = await readHostFacts(config, portFacts(config, vms.value?.heldPorts ?? []));
  const gone = unreachable ?? health?.failure;
  return [
    ...hostChecks(facts),
    ...(await privilegeChecks(config, { files: readable(facts), devices: devices(facts) })),
    ...(await attestationChecks(config, facts.tee.kind)),
    ...certificateChecks(config, Date.now()),
    ...(gone === undefined ? [] : [unreachableCheck(gone)]),
    ...(health?.value === undefined ? [] : redisChecks(health.value, config.redis)),
    ...(vms.value?.checks ?? [notCompared(vms.failure ?? "")]),
  ];
}

function readable({ files }: HostFacts): readonly string[] {
  return files.flatMap(({ path, errno }) => (errno === undefined ? [path] : []));
}

/** What QEMU opens for a confidential VM, and for one with a GPU. */
function devices({ tee, gpu }: HostFacts): readonly string[] {
  const sev = tee.kind === "snp" && tee.sevDeviceErrno === undefined ? ["/dev/sev"] : [];
  return gpu?.group === undefined || gpu.deviceErrno !== undefined ? sev : [...sev, join("/dev/vfio", gpu.group)];
}

interface Comparison {
  readonly checks: readonly Check[];
  /** Ports that VMs of this machine have. */
  readonly heldPorts: readonly number[];
}

/**
 * The comparison. What looks wrong is looked at once more: a VM that began or ended between two of our reads is none of
 * our business, and only what is there both times is told.
 */
async function compareSteadily(patient: Patient): Promise<Comparison> {
  const first = await compareOnce(patient);
  if (first.checks.every(({ status }) => status === "ok")) return first;
  await pause(LOOK_AGAIN_MS);
  const second = await compareOnce(patient);
  const before = first.checks.map(({ text }) => text);
  const steady = second.checks.filter(({ status, text }) => status === "ok" || before.includes(text));
  return { ...second, checks: steady };
}

async function compareOnce(patient: Patient): Promise<Comparison> {
  const local = await readLocal(patient.config);
  if ("check" in local) return { checks: [local.check], heldPorts: [] };
  const facts = await readComparison(patient, local.facts);
  const held = [...facts.launches, ...(facts.queue?.ports ?? [])].flatMap(({ port }) => port ?? []);
  return { checks: compare(facts), heldPorts: held };
}

async function readComparison({ keys, redis }: Patient, facts: LocalFacts): Promise<ComparisonFacts> {
  if (redis === undefined) return { ...facts, queue: undefined };
  const { hostId, stateId, bootId } = facts.host;
  const fleet = new FleetFacts({ redis, keys });
  const slots = new PortSlots({ redis, keys, bootId, range: { first: 0, last: 0, reserved: [] } });
  const [ports, activeJobs, leases] = await Promise.all([
    slots.list(),
    fleet.activeJobs(stateId),
    new HostRegistry({ redis, keys }).leases([hostId]),
  ]);
  const named = [...facts.processes, ...facts.launches, ...activeJobs].map(({ vmId }) => vmId);
  const vms = await fleet.vms([...new Set([...named, ...(await fleet.vmsOnHosts())])]);
  return { ...facts, queue: { vms, activeJobs, ports, lease: leases.get(hostId) } };
}

async function readLocal(config: Config): Promise<{ facts: LocalFacts } | { check: Check }> {
  try {
    const facts = await readLocalFacts(config);
    if (facts !== undefined) return { facts };
    const text = "no worker has used this state directory yet";
    return { check: { id: "vms_agree", area: "vms", status: "ok", text } };
  } catch (error) {
    const todo =
      error instanceof DamagedFile
        ? "Put the file back: host id and state id stand in the tokens of its VMs."
        : "Run this as the worker's user.";
    const text = error instanceof Error ? error.message : String(error);
    return { check: { id: "state_dir_unreadable", area: "vms", status: "problem", text, todo } };
  }
}

/** Ports on which somebody listens and that no VM of this machine has. */
function portFacts(config: Config, held: readonly number[]): { total: number; foreign: readonly number[] } {
  const range = config.qemu.hostFwdRange;
  const reserved = reservedPorts(config);
  const total = range.last - range.first + 1 - reserved.length;
  const listening = listeningPorts(range, forwardBindOf(config));
  return { total, foreign: listening.filter((port) => !held.includes(port) && !reserved.includes(port)) };
}

function unreachableCheck(why: string): Check {
  return {
    id: "redis",
    area: "redis",
    status: "problem",
    text: `Redis cannot be asked: ${why}`,
    todo: "Check DROVER_REDIS_URL, and that the server runs. What it knows of VMs was not compared.",
  };
}

function notCompared(why: string): Check {
  const text = `what runs here was not compared with the queue: ${why}`;
  return { id: "not_compared", area: "vms", status: "problem", text, todo: "Mend that first, and run this again." };
}

async function attempt<T>(ask: () => Promise<T>): Promise<{ value?: T; failure?: string }> {
  try {
    return { value: await ask() };
  } catch (error) {
    return { failure: error instanceof Error ? error.message : String(error) };
  }
}
