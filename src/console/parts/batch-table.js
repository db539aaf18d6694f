import { html } from "../html.js";
import { batchPath } from "../route.js";
import { shortId } from "../text.js";
import { mayAct } from "../visitor.js";
import { Age } from "./age.js";
import { Badge } from "./badge.js";
import { Progress } from "./progress.js";
import { Table } from "./table.js";

/** @import {BatchView} from "../../contract/batch.ts" */
/** @import {Column} from "./table.js" */

/** @type {readonly Column<BatchView>[]} */
const COLUMNS = [
  { title: "Batch", cell: ({ id, name }) => html`<a href=${batchPath(id)}>${name ?? shortId(id)}</a>` },
  { title: "State", cell: (batch) => html`<${BatchBadge} batch=${batch} />` },
  { title: "Progress", cell: (batch) => html`<${Progress} batch=${batch} />` },
  { title: "Failed", cell: ({ counts }) => counts.failed.toLocaleString("en") },
  ...(mayAct("operator") ? [{ title: "Owner", cell: (/** @type {BatchView} */ { owner }) => owner }] : []),
  { title: "Accepted", cell: ({ createdAt }) => html`<${Age} time=${createdAt} />` },
];

/**
 * Batches with how far they have come.
 * @param {{ batches: readonly BatchView[] | undefined }} props
 */
export function BatchTable({ batches }) {
  const keyOf = (/** @type {BatchView} */ { id }) => id;
  return html`<${Table} caption="Batches" columns=${COLUMNS} rows=${batches} keyOf=${keyOf} empty="There is no batch." />`;
}

/** How a batch stands, or how it ended. @param {{ batch: BatchView }} props */
export function BatchBadge({ batch: { state, outcome } }) {
  return html`<${Badge} state=${outcome ?? state} />`;
}
