import { html } from "../html.js";
import { Badge } from "./badge.js";
import { Share } from "./share.js";
import { Table } from "./table.js";
import { HostName } from "./vm-tables.js";

/** @import {HostView} from "../../contract/host-view.ts" */
/** @import {Column} from "./table.js" */

/** @type {readonly Column<HostView>[]} */
const COLUMNS = [
  { title: "Host", cell: ({ id }) => html`<${HostName} id=${id} />` },
  { title: "Status", cell: (host) => html`<${HostBadges} host=${host} />` },
  {
    title: "Slots",
    cell: ({ vms, slots, id }) => html`<${Share} used=${vms} total=${slots} what=${`Slots of ${id}`} />`,
  },
  { title: "Ports", cell: (host) => html`<${Ports} host=${host} />` },
  { title: "Pools", cell: ({ pools }) => pools.join(", ") },
  { title: "TEE", cell: ({ tee }) => (tee === null || tee === "none" ? "–" : tee) },
  { title: "Version", cell: ({ version }) => version ?? "–" },
];

/**
 * Hosts with what they have and what is free of it.
 * @param {{ hosts: readonly HostView[] | undefined }} props
 */
export function HostTable({ hosts }) {
  const empty = "No host has ever had a worker. Start one with: drover worker";
  const keyOf = (/** @type {HostView} */ { id }) => id;
  return html`<${Table} caption="Hosts" columns=${COLUMNS} rows=${hosts} keyOf=${keyOf} empty=${empty} />`;
}

/**
 * Everything that says whether a host takes VMs.
 * @param {{ host: HostView }} props
 */
export function HostBadges({ host: { status, breaker, admission } }) {
  return html`<span class="badges">
    <${Badge} state=${status} />
    ${admission !== undefined && admission.state !== "open" && html` <${Badge} state=${admission.state} />`}
    ${breaker !== null && html` <${Badge} state="breaker open" tone="bad" />`}
  </span>`;
}

/** @param {{ host: HostView }} props */
export function Ports({ host: { id, ports, portsTaken } }) {
  if (ports === null) return html`<span>–</span>`;
  const total = ports.last - ports.first + 1;
  const range = html`<span class="faint">${ports.first}–${ports.last}</span>`;
  return portsTaken === null || portsTaken === undefined
    ? range
    : html`<span><${Share} used=${portsTaken} total=${total} what=${`Ports of ${id}`} /> ${range}</span>`;
}
