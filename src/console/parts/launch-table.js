import { html } from "../html.js";
import { roughly } from "../text.js";
import { Age } from "./age.js";
import { Table } from "./table.js";
import { HostName } from "./vm-tables.js";

/** @import {VmView} from "../../contract/vm-view.ts" */
/** @import {Column} from "./table.js" */

/** @typedef {VmView["launches"][number]} LaunchView */

/** @type {readonly Column<LaunchView>[]} */
const COLUMNS = [
  { title: "Launch", cell: ({ epoch }) => epoch },
  { title: "Host", cell: ({ host }) => html`<${HostName} id=${host} />` },
  { title: "Port", cell: ({ port }) => port ?? "–" },
  { title: "Began", cell: ({ startedAt }) => html`<${Age} time=${startedAt} />` },
  {
    title: "Took",
    cell: ({ startedAt, endedAt }) =>
      endedAt === null ? "goes on" : roughly(Date.parse(endedAt) - Date.parse(startedAt)),
  },
  { title: "Cause", cell: ({ cause }) => (cause === null ? "–" : html`<code>${cause.code}</code> ${cause.message}`) },
];

/**
 * Every attempt to run a VM.
 * @param {{ launches: readonly LaunchView[] }} props
 */
export function LaunchTable({ launches }) {
  const keyOf = (/** @type {LaunchView} */ { epoch }) => String(epoch);
  return html`<${Table} caption="Launches" columns=${COLUMNS} rows=${launches} keyOf=${keyOf} empty="No launch of it has ended." />`;
}
