import { html } from "../html.js";
import { hostPath } from "../route.js";
import { mayAct } from "../visitor.js";
import { Age } from "./age.js";
import { Badge } from "./badge.js";
import { Table } from "./table.js";
import { VmName } from "./vm-name.js";
import { WaitReason } from "./wait-reason.js";

/** @import {VmView} from "../../contract/vm-view.ts" */
/** @import {Column} from "./table.js" */

/** @type {Record<"name" | "state" | "owner" | "pool" | "host" | "address" | "since" | "why" | "cause", Column<VmView>>} */
const COLUMNS = {
  name: { title: "VM", cell: ({ id, spec }) => html`<${VmName} id=${id} name=${spec.name} />` },
  state: {
    title: "State",
    cell: ({ state, hostStatus }) =>
      html`<${Badge} state=${state} />${hostStatus === "unreachable" && html` <${Badge} state="unreachable" />`}`,
  },
  owner: { title: "Owner", cell: ({ owner }) => owner },
  pool: { title: "Pool", cell: ({ pool }) => pool },
  host: { title: "Host", cell: ({ host }) => (host === null ? "–" : html`<${HostName} id=${host} />`) },
  address: {
    title: "Address",
    cell: ({ address }) => (address === null ? "–" : html`<code>${address.host}:${address.port}</code>`),
  },
  since: { title: "Since", cell: ({ stateSince }) => html`<${Age} time=${stateSince} />` },
  why: { title: "Why it waits", cell: (vm) => html`<${WaitReason} vm=${vm} />` },
  cause: { title: "Cause", cell: ({ cause }) => (cause === null ? "–" : html`<code>${cause.code}</code>`) },
};
/** Whoever sees only its own need not read whose they are. */
const OWNER = mayAct("operator") ? [COLUMNS.owner] : [];

const LIVE = [COLUMNS.name, COLUMNS.state, COLUMNS.host, COLUMNS.address, ...OWNER, COLUMNS.since];
const ON_HOST = [COLUMNS.name, COLUMNS.state, COLUMNS.address, ...OWNER, COLUMNS.since];
const WAITING = [COLUMNS.name, COLUMNS.state, COLUMNS.why, COLUMNS.pool, ...OWNER, COLUMNS.since];
const ALL = [COLUMNS.name, COLUMNS.state, COLUMNS.cause, COLUMNS.host, COLUMNS.pool, ...OWNER, COLUMNS.since];

/** A host as a link, for whoever may look at hosts. @param {{ id: string }} props */
export function HostName({ id }) {
  return mayAct("operator") ? html`<a href=${hostPath(id)}>${id}</a>` : html`<span>${id}</span>`;
}

/**
 * VMs with what matters in a place: `live` with their addresses, `host` without naming the host, `waiting` with why,
 * `all` with what became of them.
 * @param {{ kind: "live" | "host" | "waiting" | "all", vms: readonly VmView[] | undefined, empty: string }} props
 */
export function VmTable({ kind, vms, empty }) {
  const columns = { live: LIVE, host: ON_HOST, waiting: WAITING, all: ALL }[kind];
  const keyOf = (/** @type {VmView} */ { id }) => id;
  return html`<${Table} caption="Virtual machines" columns=${columns} rows=${vms} keyOf=${keyOf} empty=${empty} />`;
}
