import type { HostDetail, HostForgotten, HostStatus, HostView } from "../../contract/host-view.ts";
import { formatAge, formatSpan } from "./age.ts";
import type { Paint } from "./paint.ts";
import { type Cell, type Column, renderTable } from "./table.ts";
import { printable, wrap } from "./text-width.ts";

export interface HostScreen {
  readonly columns: number;
  readonly paint: Paint;
  readonly nowMs: number;
}

const COLUMNS: readonly Column[] = [
  { title: "HOST", shrinkTo: 12 },
  { title: "STATUS" },
  { title: "VMS", align: "right" },
  { title: "WHEN LOST" },
  { title: "VERSION", shrinkTo: 7, optional: true },
  { title: "SINCE", align: "right", optional: true },
  { title: "NOTE", shrinkTo: 12, optional: true },
];

const STATUS_COLOURS: Readonly<Record<HostStatus, keyof Paint>> = {
  live: "green",
  away: "yellow",
  silent: "yellow",
  lost: "red",
};

const STATUS_TEXTS: Readonly<Record<HostStatus, string>> = {
  live: "shows that it lives",
  away: "is away on purpose; its VMs run on",
  silent: "has not shown that it lives",
  lost: "has not shown that it lives for too long",
};

const LABEL_CHARS = 10;

/** The list of hosts as a table. SINCE is how long a host that is gone has been silent, else how long its worker runs. */
export function renderHostTable(hosts: readonly HostView[], screen: HostScreen): readonly string[] {
  return renderTable(
    COLUMNS,
    hosts.map((host) => row(host, screen)),
    screen.columns,
  );
}

function row(host: HostView, { paint, nowMs }: HostScreen): readonly Cell[] {
  const since = host.status === "live" ? host.startedAt : host.silentSince;
  return [
    { text: host.id },
    { text: host.status, paint: paint[STATUS_COLOURS[host.status]] },
    { text: slots(host) },
    { text: host.policy === null ? "hold" : policyWord(host.policy) },
    { text: host.version ?? "" },
    { text: since === null ? "" : formatAge(nowMs - Date.parse(since)) },
    { text: note(host, nowMs) },
  ];
}

function note({ breaker, awayUntil }: HostView, nowMs: number): string {
  if (breaker !== null) return `takes no VM for ${formatAge(Date.parse(breaker.openUntil) - nowMs)}`;
  return awayUntil === null ? "" : `back in ${formatAge(Date.parse(awayUntil) - nowMs)}`;
}

function slots({ vms, slots: most }: HostView): string {
  return most === null || most <= 0 ? String(vms) : `${vms}/${most}`;
}

function policyWord({ lost, lostAfterMs }: NonNullable<HostView["policy"]>): string {
  return lost === "hold" ? "hold" : `rerun after ${formatAge(lostAfterMs)}`;
}

/** One host with all that is known of it, for people. */
export function renderHost(host: HostDetail, screen: HostScreen): readonly string[] {
  const { paint, nowMs } = screen;
  const ago = (time: string) => `${formatAge(nowMs - Date.parse(time))} ago`;
  const { policy, breaker, ports } = host;
  const gone = host.status === "silent" || host.status === "lost";
  return [
    `${paint.bold(printable(host.id))}  ${paint[STATUS_COLOURS[host.status]](host.status)}: ${STATUS_TEXTS[host.status]}`,
    ...fact("Seen", host.silentSince === null ? undefined : `${ago(host.silentSince)} for the last time`, screen),
    ...fact("Back", host.awayUntil === null ? undefined : `expected in ${span(host.awayUntil, nowMs)}`, screen),
    ...fact("VMs", slots(host), screen),
    ...fact("Pools", host.pools.join(", "), screen),
    ...fact("Address", host.address ?? undefined, screen),
    ...fact("Ports", ports === null ? undefined : `${ports.first}-${ports.last}`, screen),
    ...fact(
      "Machine",
      [host.accel, host.tee && `tee: ${host.tee}`, host.gpu && `GPU ${host.gpu}`].filter(Boolean).join(", "),
      screen,
    ),
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

/** What became of the VMs of a forgotten host. */
export function renderForgotten({ id, requeued, removed, failed }: HostForgotten): readonly string[] {
  const list = (what: string, ids: readonly string[]) => ids.map((vmId) => `${vmId}  ${what}`);
  return [
    ...list("queued", requeued),
    ...list("removed, not verified", removed),
    ...list("failed", failed),
    `host ${printable(id)} is forgotten`,
  ];
}
