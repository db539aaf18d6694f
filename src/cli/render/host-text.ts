import type { HostForgotten, HostStatus, HostView } from "../../contract/host-view.ts";
import { formatAge } from "./age.ts";
import type { Paint } from "./paint.ts";
import { type Cell, type Column, renderTable } from "./table.ts";
import { printable } from "./text-width.ts";

export interface HostScreen {
  readonly columns: number;
  readonly paint: Paint;
  readonly nowMs: number;
}

const COLUMNS: readonly Column[] = [
  { title: "HOST", shrinkTo: 12 },
  { title: "STATUS" },
  { title: "VMS", align: "right" },
  { title: "WANTED", optional: true },
  { title: "WHEN LOST" },
  { title: "VERSION", shrinkTo: 7, optional: true },
  { title: "SINCE", align: "right", optional: true },
  { title: "NOTE", shrinkTo: 12, optional: true },
];

export const STATUS_COLOURS: Readonly<Record<HostStatus, keyof Paint>> = {
  live: "green",
  away: "yellow",
  silent: "yellow",
  gone: "dim",
  lost: "red",
};

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
    { text: host.admission.state === "open" ? "" : host.admission.state },
    { text: host.policy === null ? "hold" : policyWord(host.policy) },
    { text: host.version ?? "" },
    { text: since === null ? "" : formatAge(nowMs - Date.parse(since)) },
    { text: note(host, nowMs) },
  ];
}

function note({ admission, breaker, awayUntil }: HostView, nowMs: number): string {
  if (admission.done) return "done: it has no VM";
  if (breaker !== null) return `no VMs for ${formatAge(Date.parse(breaker.openUntil) - nowMs)}`;
  if (awayUntil === null) return admission.note ?? "";
  return `back in ${formatAge(Date.parse(awayUntil) - nowMs)}`;
}

/** VMs, and of how many at most where that is limited. */
export function slots({ vms, slots: most }: HostView): string {
  return most === null || most <= 0 ? String(vms) : `${vms}/${most}`;
}

function policyWord({ lost, lostAfterMs }: NonNullable<HostView["policy"]>): string {
  return lost === "hold" ? "hold" : `rerun after ${formatAge(lostAfterMs)}`;
}

/** What is wanted of a host and how far that is, as one sentence. */
export function renderAdmission(host: HostView): string {
  const { id, status, vms, admission } = host;
  const name = printable(id);
  const heard = admission.heeded
    ? ""
    : status === "live"
      ? " (its worker has not heard it yet)"
      : ` (it is ${status}: its worker hears it when it is back)`;
  return `${sentence(name, admission, vms)}${heard}`;
}

function sentence(name: string, { state, done, held }: HostView["admission"], vms: number): string {
  const count = vms === 1 ? "1 VM" : `${vms} VMs`;
  switch (state) {
    case "open":
      return `${name} takes VMs`;
    case "cordoned":
      return `${name} takes no new VM; it has ${vms === 0 ? "none" : count}`;
    case "draining":
      return done ? `${name} is drained: it has no VM` : `${name} is draining: ${count} left`;
    case "evacuating": {
      if (done) return `${name} is evacuated: it has no VM`;
      const stay = held === 0 ? "" : `, ${held} of which no other live host could take`;
      return `${name} is being evacuated: ${count} left${stay}`;
    }
  }
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
