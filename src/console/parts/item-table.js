import { html } from "../html.js";
import { useLive } from "../live.js";
import { batchPath } from "../route.js";
import { Age } from "./age.js";
import { Badge } from "./badge.js";
import { Section } from "./section.js";
import { Table } from "./table.js";
import { VmName } from "./vm-name.js";
import { HostName } from "./vm-tables.js";

/** @import {BatchItem, BatchItems} from "../../contract/batch.ts" */
/** @import {Column} from "./table.js" */
/** @import {Live} from "../live.js" */

const PAGE_ITEMS = 50;

/** @type {readonly Column<BatchItem>[]} */
const COLUMNS = [
  { title: "Item", cell: ({ index, vmId, name }) => html`${index + 1}. <${VmName} id=${vmId} name=${name} />` },
  { title: "State", cell: ({ state }) => html`<${Badge} state=${state} />` },
  { title: "Cause", cell: ({ cause }) => (cause === null ? "–" : html`<code>${cause}</code>`) },
  { title: "Host", cell: ({ host }) => (host === null ? "–" : html`<${HostName} id=${host} />`) },
  { title: "Exit code", cell: ({ exitCode }) => exitCode ?? "–" },
  { title: "Ended", cell: ({ endedAt }) => html`<${Age} time=${endedAt} />` },
];

/**
 * The items of a batch, a page at a time; by cause where the address says so.
 * @param {{ batchId: string, query: URLSearchParams }} props
 */
export function ItemTable({ batchId, query }) {
  const here = batchPath(batchId);
  const cause = query.get("cause");
  const cursor = query.get("cursor");
  const by = cause === null ? "" : `&cause=${encodeURIComponent(cause)}`;
  const from = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
  const path = `/v1${here}/items?limit=${PAGE_ITEMS}${by}${from}`;
  const { value, refusal } = /** @type {Live<BatchItems>} */ (useLive(path));
  const next = value?.next;
  const keyOf = (/** @type {BatchItem} */ { vmId }) => vmId;
  return html`<${Section} id="items" title=${cause === null ? "Items" : `Items that failed with ${cause}`} refusal=${refusal}>
    <${Table} caption="Items" columns=${COLUMNS} rows=${value?.items} keyOf=${keyOf} empty="There is no such item." />
    <p class="pages">
      ${(cursor !== null || cause !== null) && html`<a href=${here}>From the first</a>`}
      ${next !== null && next !== undefined && html`<a href="${here}?cursor=${encodeURIComponent(next)}${by}">Further</a>`}
    </p>
  <//>`;
}
