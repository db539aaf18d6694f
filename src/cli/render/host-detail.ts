import type { HostDetail, HostStatus, HostView } from "../../contract/host-view.ts";
import { formatAge, formatSpan } from "./age.ts";
import { formatBytes } from "./bytes.ts";
import { type HostScreen, renderAdmission, STATUS_COLOURS, slots } from "./host-text.ts";
import { printable, wrap } from "./text-width.ts";

const STATUS_TEXTS: Readonly<Record<HostStatus, string>> = {
  live: "shows that it lives",
  away: "is away on purpose; its VMs run on",
  silent: "has not shown that it lives",
  gone: "has left, without a VM",
  lost: "has not shown that it lives for too long",
};

const LABEL_CHARS = 10;

/** One host with all that is known of it, for people. */
export function renderHost(host: HostDetail, screen: HostScreen): readonly string[] {
  const { paint, nowMs } = screen;
  const ago = (time: string) => `${formatAge(nowMs - Date.parse(time))} ago`;
  const { policy, breaker, ports } = host;
  const gone = ["silent", "gone", "lost"].includes(host.status);
  return [
    `${paint.bold(printable(host.id))}  ${paint[STATUS_COLOURS[host.status]](host.status)}: ${STATUS_TEXTS[host.status]}`,
    ...fact("Seen", host.silentSince === null ? undefined : `${ago(host.silentSince)} for the last time`, screen),
    ...fact("Back", host.awayUntil === null ? undefined : `expected in ${span(host.awayUntil, nowMs)}`, screen),
    ...fact("Wanted", admissionText(host, nowMs), screen),
    ...fact("VMs", slots(host), screen),
    ...fact("Pools", host.pools.join(", "), screen),
    ...fact("Address", host.address ?? undefined, screen),
    ...fact("Ports", ports === null ? undefined : portsText(ports, host.portsTaken), screen),
    ...fact(
      "Machine",
      [host.accel, host.tee && `tee: ${host.tee}`, host.gpu && `GPU ${host.gpu}`].filter(Boolean).join(", "),
      screen,
    ),
    ...fact("Room", roomText(host.room), screen),
    ...fact("Memory", memoryText(host.memory), screen),
    ...fact("Classes", pairs(host.memoryClasses, formatBytes), screen),
    ...fact("Labels", pairs(host.labels, String), screen),
    ...fact("Processor", machineText(host.machine), screen),
    ...fact("System", systemText(host.machine, nowMs), screen),
    ...fact(
      "Worker",
      host.version === null
        ? undefined
        : `drover ${host.version}${host.startedAt === null ? "" : `, started ${ago(host.startedAt)}`}`,
      screen,
    ),
    ...fact("When lost", policyText(policy), screen),
    ...fact(
      "Breaker",
      breaker === null
        ? undefined
        : `takes no VM for ${span(breaker.openUntil, nowMs)}: ${breaker.failures} launches failed by its own fault` +
            (breaker.cause === null ? "" : `, ${breaker.cause.code}: ${breaker.cause.message}`),
      screen,
    ),
    ...(host.vmIds.length === 0 ? [] : ["", ...host.vmIds.map((id) => `  ${id}`)]),
    ...(host.vmIds.length < host.vms
      ? [`  and ${host.vms - host.vmIds.length} more: drover ls --host ${printable(host.id)}`]
      : []),
    ...(gone
      ? ["", ...wrap(`Is it gone for good? Then: drover hosts forget ${printable(host.id)}`, screen.columns)]
      : []),
  ];
}

function admissionText(host: HostDetail, nowMs: number): string {
  const { since, by, note, evacuatesAt } = host.admission;
  if (since === null) return renderAdmission(host);
  const who = `; said ${formatAge(nowMs - Date.parse(since))} ago by ${by ?? "somebody"}${note === null ? "" : `: ${note}`}`;
  const then = evacuatesAt === null ? "" : `; what is left is evacuated in ${span(evacuatesAt, nowMs)}`;
  return `${renderAdmission(host)}${then}${who}`;
}

function portsText({ first, last }: NonNullable<HostDetail["ports"]>, taken: number | null): string {
  return `${first}-${last}${taken === null ? "" : `, ${taken} taken on this machine`}`;
}

function roomText(room: HostDetail["room"]): string | undefined {
  if (room === null) return undefined;
  const { slots, ports, teeKeys, gpu } = room;
  const parts = [
    ...(slots === null ? [] : [`${slots} ${slots === 1 ? "slot" : "slots"}`]),
    `${ports} ${ports === 1 ? "port" : "ports"}`,
    ...(teeKeys === null ? [] : [`keys for ${teeKeys} confidential VMs`]),
    ...(gpu ? ["the GPU"] : []),
  ];
  return `${parts.join(", ")} left`;
}

function memoryText(memory: HostDetail["memory"]): string | undefined {
  if (memory === null) return undefined;
  const { totalBytes, reservedBytes, freeBytes } = memory;
  const free = freeBytes === null ? "" : `, ${formatBytes(freeBytes)} left for VMs`;
  return `${formatBytes(totalBytes)}, ${formatBytes(reservedBytes)} of it kept back${free}`;
}

function pairs<T>(values: Readonly<Record<string, T>>, show: (value: T) => string): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${show(value)}`)
    .join(", ");
}

function machineText(machine: HostDetail["machine"]): string | undefined {
  if (machine === null) return undefined;
  const cores = machine.cores === 1 ? "1 core" : `${machine.cores} cores`;
  return [machine.cpu, cores].filter(Boolean).join(", ");
}

function systemText(machine: HostDetail["machine"], nowMs: number): string | undefined {
  if (machine === null) return undefined;
  const qemu = machine.qemu === null ? "no QEMU that runs" : `QEMU ${machine.qemu}`;
  return `${qemu}, kernel ${machine.kernel}, booted ${formatAge(nowMs - Date.parse(machine.bootedAt))} ago`;
}

function policyText(policy: HostView["policy"]): string {
  if (policy === null) return "its VMs are held until an operator says so (it has published no policy)";
  const after = formatSpan(policy.lostAfterMs);
  const lost =
    policy.lost === "hold"
      ? "its VMs are held until an operator says so"
      : `its VMs are launched elsewhere after ${after}`;
  const cut = policy.onPartition === "keep" ? "keeps them running" : `stops them after ${after}`;
  return `${lost}; cut off from Redis it ${cut}`;
}

function span(time: string, nowMs: number): string {
  return formatSpan(Date.parse(time) - nowMs);
}

function fact(label: string, value: string | undefined, { columns, paint }: HostScreen): readonly string[] {
  if (value === undefined || value === "") return [];
  const indent = LABEL_CHARS + 2;
  const [first = "", ...more] = wrap(printable(value), columns - indent);
  return [`  ${paint.dim(label.padEnd(LABEL_CHARS))}${first}`, ...more.map((line) => `${" ".repeat(indent)}${line}`)];
}
