import { PortSlots } from "../../src/queue/port-slots.ts";
import { bootId } from "../../src/runtime/process-identity.ts";
import type { Drover } from "./drover.ts";
import { filesBelow, listeningPorts, machinesOf, processesNaming } from "./machine-traces.ts";
import { holdsResources, type RecordFacts, readFacts, redisProblems } from "./redis-traces.ts";
import { waitFor } from "./wait-for.ts";

export interface Exceptions {
  /** Ports of the range on which the test itself listens. */
  readonly foreignPorts?: readonly number[];
  /** Files below the state directory that may be there besides. */
  readonly files?: RegExp;
}

type World = Pick<Drover, "client" | "keys" | "stateDir" | "ports" | "config">;

/**
 * Everything that disagrees, in words: the VM records are taken at their word, and ports (hash in Redis and listening
 * sockets), processes, files, queues, indexes and events must be exactly what they say. Empty when all is well.
 */
export async function leftovers(world: World, exceptions: Exceptions = {}): Promise<string[]> {
  const records = await readFacts(world.client, world.keys);
  const live = records.filter(holdsResources);
  return [
    ...(await portProblems(world, live, exceptions)),
    ...processProblems(world, records),
    ...fileProblems(world, live, exceptions),
    ...(await redisProblems(world.client, world.keys, records)),
  ];
}

/** Waits until everything agrees: a job is settled and a directory deleted a moment after the final record. */
export async function expectAgreement(world: World, exceptions: Exceptions = {}): Promise<void> {
  let last: string[] = [];
  try {
    await waitFor(
      async () => {
        last = await leftovers(world, exceptions);
        return last.length === 0;
      },
      { timeoutMs: 10_000, intervalMs: 50, what: "records, queues, ports, processes and files to agree" },
    );
  } catch (cause) {
    if (last.length === 0) throw cause;
    throw new Error(`something is left, or missing:\n${last.join("\n")}`);
  }
}

async function portProblems(
  { client, keys, ports, config }: World,
  live: readonly RecordFacts[],
  { foreignPorts = [] }: Exceptions,
): Promise<string[]> {
  const slots = new PortSlots({ redis: client, keys, bootId: bootId(), range: { ...ports, reserved: [] } });
  const held = await slots.list();
  const problems = held
    .filter((slot) => !live.some((vm) => vm.vmId === slot.vmId && vm.port === slot.port && vm.epoch === slot.epoch))
    .map((slot) => `port ${slot.port} is held for ${slot.vmId}, launch ${slot.epoch}, which does not have it`);
  for (const { vmId, port } of live)
    if (port !== undefined && !held.some((slot) => slot.vmId === vmId && slot.port === port))
      problems.push(`${vmId} says port ${port} and does not hold it`);
  const bound = listeningPorts(ports).filter((port) => !foreignPorts.includes(port) && port !== config.http.port);
  for (const port of bound)
    if (!live.some((vm) => vm.port === port)) problems.push(`somebody listens on port ${port}, and no VM has it`);
  for (const { vmId, port, state } of live)
    if (port !== undefined && ["running", "ready"].includes(state) && !bound.includes(port))
      problems.push(`nobody listens on port ${port} of ${vmId}`);
  return problems;
}

function processProblems({ stateDir }: World, records: readonly RecordFacts[]): string[] {
  const machines = machinesOf(new Set(records.map(({ vmId }) => vmId)));
  const problems = records.flatMap((record) => {
    const count = machines.filter(({ uuid }) => uuid === record.vmId).length;
    const right = ["running", "ready"].includes(record.state)
      ? count === 1
      : holdsResources(record)
        ? count <= 1
        : count === 0;
    return right ? [] : [`${record.vmId} is ${record.state} and has ${count} processes`];
  });
  const liveIds = records.filter(holdsResources).map(({ vmId }) => vmId);
  const strangers = processesNaming(`${stateDir}/vms`).filter((line) => !liveIds.some((vmId) => line.includes(vmId)));
  return [...problems, ...strangers.map((line) => `process without a VM: ${line}`)];
}

/** What a host keeps whether it has VMs or not. */
const OWN_FILES = /^(host\.json|generation\.json|vms\/|spare\/.*|guard\/.*)$/;

function fileProblems({ stateDir }: World, live: readonly RecordFacts[], { files }: Exceptions): string[] {
  const all = filesBelow(stateDir);
  const ofLiveVm = (path: string) =>
    live.some(({ vmId, epoch }) => path === `vms/${vmId}/` || path.startsWith(`vms/${vmId}/${epoch}/`));
  const problems = all
    .filter((path) => !OWN_FILES.test(path) && !ofLiveVm(path) && files?.test(path) !== true)
    .map((path) => `file ${path} is left`);
  for (const { vmId, epoch } of live)
    if (!all.includes(`vms/${vmId}/${epoch}/record.json`)) problems.push(`${vmId} has no record on disk`);
  return problems;
}
