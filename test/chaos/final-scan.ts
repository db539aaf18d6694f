import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { isFinal, type VmState } from "../../src/contract/vm-state.ts";
import { findUuidProcesses } from "../../src/qemu/process-scan.ts";
import type { RedisClient } from "../../src/queue/connection.ts";
import { EventLog } from "../../src/queue/event-log.ts";
import { PortSlots } from "../../src/queue/port-slots.ts";
import { bootId } from "../../src/runtime/process-identity.ts";
import { allOfRedis, canariesIn, directoryModes, readAll } from "../helpers/canaries.ts";
import { filesBelow, processesNaming } from "../helpers/machine-traces.ts";
import { holdsResources, type RecordFacts, readFacts, redisProblems } from "../helpers/redis-traces.ts";
import type { Facts, LeakKind } from "./history.ts";
import { HOSTS, type HostName, type World } from "./world.ts";

type Problem = { readonly kind: LeakKind; readonly text: string };

interface VmFacts extends RecordFacts {
  readonly host: string | undefined;
}

const AGREE_MS = 10_000;
const AGAIN_MS = 200;

/**
 * Compares what there is with what the records say, in both directions, until it agrees: a directory is deleted a
 * moment after the final record. What disagrees to the end is written down.
 */
export async function scanLeftovers(world: World, redis: RedisClient, when: "live" | "empty"): Promise<void> {
  let problems: readonly Problem[] = [];
  for (const deadline = Date.now() + AGREE_MS; ; ) {
    problems = await leftovers(world, redis);
    if (problems.length === 0 || Date.now() > deadline) break;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
  world.recorder.add("scan", { when, problems }, { process: "scan" });
}

async function leftovers(world: World, redis: RedisClient): Promise<Problem[]> {
  const facts = await readFacts(redis, world.keys);
  const vms = await Promise.all(
    facts.map(
      async (vm): Promise<VmFacts> => ({
        ...vm,
        host: (await redis.hget(world.keys.record(vm.vmId), "host")) ?? undefined,
      }),
    ),
  );
  const live = vms.filter(holdsResources);
  return [
    ...(await redisProblems(redis, world.keys, facts))
      // Removed before its job was added: then it never gets one.
      .filter((text) => !/\((removed|expired)\) is gone, not completed/.test(text))
      .filter((text) => !world.options.dataLoss || !text.startsWith("the events of")) // a lost stream begins anew
      .map((text): Problem => ({ kind: "redis", text })),
    ...(await portProblems(world, redis, live)),
    ...processProblems(world, vms, live),
    ...HOSTS.flatMap((host) => fileProblems(world, host, live)),
  ];
}

async function portProblems(world: World, redis: RedisClient, live: readonly VmFacts[]): Promise<Problem[]> {
  const all = { first: world.ports.h1.first, last: world.ports.h2.last };
  const slots = new PortSlots({ redis, keys: world.keys, bootId: bootId(), range: { ...all, reserved: [] } });
  const held = await slots.list();
  // Of our own QEMUs: a stranger who listens within the range is not drover's.
  world.sampler.sample();
  const bound = world.sampler.live;
  const texts = [
    ...held
      .filter(
        (slot) =>
          !live.some(({ vmId, port, epoch }) => vmId === slot.vmId && port === slot.port && epoch === slot.epoch),
      )
      .map(
        ({ port, vmId, epoch }) => `port ${port} is held in Redis for ${vmId}, launch ${epoch}, which does not have it`,
      ),
    ...live
      .filter(({ vmId, port }) => !held.some((slot) => slot.vmId === vmId && slot.port === port))
      .map(({ vmId, port }) => `${vmId} has port ${port} and does not hold it in Redis`),
    ...bound
      .filter(({ port }) => port !== undefined && !live.some((vm) => vm.port === port))
      .map(({ port, vmId }) => `QEMU of ${vmId} listens on ${port}, and no VM has it`),
    ...live
      .filter(({ vmId, state, port }) => isUp(state) && !bound.some((qemu) => qemu.vmId === vmId && qemu.port === port))
      .map(({ vmId, port }) => `nobody listens on port ${port} of ${vmId}`),
  ];
  return texts.map((text) => ({ kind: "port", text }));
}

function processProblems(world: World, vms: readonly VmFacts[], live: readonly VmFacts[]): Problem[] {
  const machines = findUuidProcesses();
  const counts = vms.flatMap(({ vmId, state }): string[] => {
    const count = machines.filter(({ uuid }) => uuid === vmId).length;
    const right = isUp(state) ? count === 1 : live.some((vm) => vm.vmId === vmId) ? count <= 1 : count === 0;
    return right ? [] : [`${vmId} is ${state} and has ${count} processes`];
  });
  const strangers = processesNaming(`${world.dir}/`)
    .filter((line) => /\/vms\//.test(line) && !live.some(({ vmId }) => line.includes(vmId)))
    .map((line) => `process without a live VM: ${line.slice(0, 200)}`);
  return [...counts, ...strangers].map((text) => ({ kind: "process", text }));
}

function fileProblems(world: World, host: HostName, live: readonly VmFacts[]): Problem[] {
  const here = live.filter((vm) => vm.host === host);
  const belongs = (path: string) =>
    here.some(({ vmId, epoch }) => path === `vms/${vmId}/` || path.startsWith(`vms/${vmId}/${epoch}/`));
  const left = filesBelow(world.stateDir(host)).filter((path) => /^vms\/./.test(path) && !belongs(path));
  const missing = here.filter(
    ({ vmId, epoch, state }) => isUp(state) && !existsSync(launchDir(world, host, vmId, epoch)),
  );
  return [
    ...left.map((path): Problem => ({ kind: "file", text: `${host}: ${path} is left` })),
    ...missing.map(({ vmId }): Problem => ({ kind: "file", text: `${host}: the directory of ${vmId} is missing` })),
  ];
}

function launchDir(world: World, host: HostName, vmId: string, epoch: number): string {
  return join(world.stateDir(host), "vms", vmId, String(epoch));
}

function isUp(state: VmState): boolean {
  return state === "running" || state === "ready";
}

/** VMs that have not ended and do not stand still in `running`: what is not settled yet, in words. */
export async function openVms(world: World, redis: RedisClient, mayStay: (vmId: string) => boolean): Promise<string[]> {
  const facts = await readFacts(redis, world.keys);
  return facts
    .filter(({ vmId, state }) => !isFinal(state) && !(mayStay(vmId) && isUp(state)))
    .map(({ vmId, state, epoch }) => `${vmId} is ${state}, launch ${epoch}`);
}

/** Records and events of the whole run, as Redis has them at the end. `offsetMs` leads from its clock to ours. */
export async function readRedis(world: World, redis: RedisClient, offsetMs: number): Promise<string> {
  for (const { vmId, state, epoch, seq, port } of await readFacts(redis, world.keys)) {
    const [host, spec] = await redis.hmget(world.keys.record(vmId), "host", "spec");
    const { name } = JSON.parse(spec ?? "{}") as { name?: string }; // the spec as the API wrote it
    const value: Facts["record"] = { state, epoch, seq, key: name, host: host ?? undefined, port };
    world.recorder.add("record", value, { process: "redis", vmId });
  }
  const log = new EventLog({ redis, keys: world.keys });
  let after = "0";
  for (
    let page = await log.read({ after, count: 1_000 });
    page.length > 0;
    page = await log.read({ after, count: 1_000 })
  ) {
    for (const { id, event } of page)
      world.recorder.add(
        "event",
        { id, seq: Number(event.sequence), name: event.type, data: event.data },
        { process: "redis", vmId: event.subject, t: Date.parse(event.time) + offsetMs },
      );
    after = page.at(-1)?.id ?? after;
  }
  return after;
}

/** Looks for the secrets of the run everywhere where they must not be, and at who may read where they are. */
export async function scanSecrets(world: World, redis: RedisClient): Promise<void> {
  const note = (place: string, text: string, allowed = false) => {
    const fields = canariesIn(text);
    if (fields.length > 0) world.recorder.add("canary", { place, fields, allowed }, { process: "scan" });
  };
  note("Redis", await allOfRedis(redis));
  for (const { path, text } of readAll(join(world.dir, "redis"))) note(path, text);
  for (const path of world.outputs) note(path, readFileSync(path, "latin1"));
  for (const host of HOSTS) {
    const dir = world.stateDir(host);
    for (const { path, mode, text } of readAll(dir)) {
      const isShare = /\/vms\/[^/]+\/\d+\/(env|certs)\//.test(path);
      // The kernel command line, which is in the record of the launch, has the KBS parameters as Cocos has them.
      note(path, text, isShare);
      if (path.includes("/vms/")) world.recorder.add("mode", { path, mode }, { process: "scan" });
    }
    for (const { path, mode } of directoryModes(dir)) world.recorder.add("mode", { path, mode }, { process: "scan" });
    world.recorder.add("mode", { path: dir, mode: statSync(dir).mode & 0o777 }, { process: "scan" });
  }
  for (const [name, pid] of [
    ["api", world.apiPid],
    ...HOSTS.map((host) => [host, world.workerPid(host)] as const),
  ] as const) {
    if (pid === undefined) continue;
    for (const file of ["cmdline", "environ"]) note(`${file} of ${name}`, readProc(pid, file));
  }
  for (const { pid } of world.sampler.live) note(`environ of QEMU ${pid}`, readProc(pid, "environ"));
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    return ""; // it ended since it was last seen
  }
}
