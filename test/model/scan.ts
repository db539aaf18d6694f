import { isFinal, type VmState } from "../../src/contract/vm-state.ts";
import { poolQueueName } from "../../src/queue/redis-keys.ts";
import type { Fleet } from "./fleet.ts";
import type { SimHost, SimProcess } from "./sim/sim-host.ts";

/**
 * Compares what there is with what there ought to be when nothing is under way, both ways: processes, directories,
 * ports, records and jobs are exactly those of the VMs that run; `empty`: there are none. Gives what does not fit.
 */
export function scan(fleet: Fleet, wanted: "settled" | "empty"): readonly string[] {
  const found: string[] = [];
  const { server } = fleet.network;
  const { keys } = fleet;
  const record = (vmId: string) => server.keys.read(keys.record(vmId), "hash")?.fields;
  const queue = (part: string) => keys.bull(poolQueueName("default"), part);
  const active = server.keys.read(queue("active"), "list")?.items ?? [];
  const waiting = ["prioritized", "delayed"].flatMap((part) => [
    ...(server.keys.read(queue(part), "zset")?.scores.keys() ?? []),
  ]);
  const ended = ["completed", "failed"].flatMap((part) => [
    ...(server.keys.read(queue(part), "zset")?.scores.keys() ?? []),
  ]);

  const running = new Map<string, { host: SimHost; process: SimProcess }>();
  for (const host of fleet.hosts) {
    for (const process of host.living()) {
      if (running.has(process.vmId)) found.push(`${process.vmId} has two processes`);
      running.set(process.vmId, { host, process });
    }
    const live = new Set(host.living().map(({ vmId, epoch }) => `${vmId}/${epoch}`));
    for (const key of host.directories.keys())
      if (!live.has(key)) found.push(`${host.hostId}: directory ${key} is left`);
    for (const key of live) if (!host.directories.has(key)) found.push(`${host.hostId}: ${key} has no directory`);
    const ports = server.keys.read(keys.ports(host.bootId), "hash")?.fields ?? new Map<string, string>();
    for (const process of host.living()) {
      const holder = ports.get(`p:${process.port}`) ?? "";
      if (!holder.startsWith(`${process.vmId}|${process.epoch}|`))
        found.push(`${host.hostId}: port ${process.port} of ${process.vmId} is held by '${holder}'`);
    }
    const held = [...ports].filter(([field]) => field.startsWith("p:"));
    for (const [field, holder] of held) {
      if (!host.living().some(({ vmId, port }) => holder.startsWith(`${vmId}|`) && field === `p:${port}`))
        found.push(`${host.hostId}: ${field} is held by '${holder}', which does not live`);
    }
  }

  for (const vmId of fleet.truth.accepted) {
    const fields = record(vmId);
    if (fields === undefined) {
      if (!fleet.truth.hasLost) found.push(`${vmId} has no record`);
      if (running.has(vmId)) found.push(`${vmId} runs and has no record`);
      continue;
    }
    const state = fields.get("state") as VmState;
    const live = running.get(vmId);
    const at = [active.includes(vmId), waiting.includes(vmId), ended.includes(vmId)].map(Number).join("");
    if (isFinal(state)) {
      if (live !== undefined) found.push(`${vmId} is ${state} and has a process on ${live.host.hostId}`);
      if (at !== "001" && server.keys.exists(queue(vmId))) found.push(`${vmId} is ${state} and its job is ${at}`);
      if (server.keys.exists(`${queue(vmId)}:lock`)) found.push(`${vmId} is ${state} and its job is locked`);
    } else if (live !== undefined) {
      const { host, process } = live;
      const isRunning = state === "running" || state === "ready";
      const says = `${fields.get("host")} ${fields.get("epoch")} ${fields.get("port")}`;
      if (!isRunning) found.push(`${vmId} has a process and is ${state}`);
      if (says !== `${host.hostId} ${process.epoch} ${process.port}`) found.push(`${vmId} runs elsewhere than ${says}`);
      if (at !== "100") found.push(`${vmId} runs and its job is ${at}`);
      const lock = server.keys.read(`${queue(vmId)}:lock`, "string")?.text;
      if (lock !== fields.get("token")) found.push(`${vmId}: lock ${lock}, token ${fields.get("token")}`);
      if (process.isGuestDown) found.push(`${vmId}: its guest is down`);
    } else if (state === "queued" || state === "retrying") {
      // BullMQ counts delays by the clock of the host that gives a job back: one that is ahead makes others wait.
      const dueAtMs = (server.keys.read(queue("delayed"), "zset")?.scores.get(vmId) ?? 0) / 0x1000;
      if (wanted === "settled" && dueAtMs > server.keys.nowMs + 60_000) continue;
      // Redis has lost twice: a whole launch, from its first move to its last, after its job was settled.
      if (at === "001" && fleet.truth.hasLost) continue;
      const isFull = fleet.hosts.every((host) => host.living().length >= host.maxVms);
      if (!isFull) found.push(`${vmId} is ${state} (job ${at}) and a host has room`);
      else if (at !== "010") found.push(`${vmId} is ${state} and its job is ${at}`);
    } else found.push(`${vmId} is ${state} on ${fields.get("host")} and has no process`);
    if (wanted === "empty" && !isFinal(state)) found.push(`${vmId} is ${state}`);
  }
  found.push(...fleet.batches.scan(wanted));
  for (const vmId of [...active, ...waiting])
    if (record(vmId) === undefined) found.push(`${vmId} has a job and no record`);
  if (wanted === "empty" && running.size > 0) found.push(`processes live: ${[...running.keys()]}`);
  return found;
}
