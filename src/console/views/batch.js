import { html } from "../html.js";
import { useLive } from "../live.js";
import { Action } from "../parts/action.js";
import { Age } from "../parts/age.js";
import { BatchActions, retryFailed } from "../parts/batch-actions.js";
import { BatchBadge } from "../parts/batch-table.js";
import { Facts } from "../parts/facts.js";
import { ItemTable } from "../parts/item-table.js";
import { Progress } from "../parts/progress.js";
import { Refused } from "../parts/refused.js";
import { Section } from "../parts/section.js";
import { Table } from "../parts/table.js";
import { batchPath } from "../route.js";
import { shortId } from "../text.js";
import { useTitle } from "../title.js";
import { mayAct } from "../visitor.js";

/** @import {BatchView} from "../../contract/batch.ts" */
/** @import {Column} from "../parts/table.js" */
/** @import {Live} from "../live.js" */

/**
 * One batch: how far it is, what failed, and its items.
 * @param {{ id: string, query: URLSearchParams }} props
 */
export function BatchPage({ id, query }) {
  const { value: batch, refusal } = /** @type {Live<BatchView>} */ (useLive(`/v1${batchPath(id)}`));
  const name = batch?.name ?? `Batch ${shortId(id)}`;
  useTitle(name);
  return html`<h1>${name}</h1>
    <${Refused} refusal=${refusal} />
    ${
      batch !== undefined &&
      html`<p class="lead"><${BatchBadge} batch=${batch} /></p>
        <${Progress} batch=${batch} legend=${true} />
        <div class="buttons"><${BatchActions} batch=${batch} /></div>
        <${Section} id="facts" title="What it is"><${BatchFacts} batch=${batch} /><//>
        <${Section} id="failures" title="Failures by cause"><${Causes} batch=${batch} /><//>
        <${ItemTable} batchId=${id} query=${query} />`
    }`;
}

/** @param {{ batch: BatchView }} props */
function BatchFacts({ batch }) {
  return html`<${Facts}
    facts=${[
      ["Id", html`<code>${batch.id}</code>`],
      ["Owner", batch.owner],
      ["Items", batch.total.toLocaleString("en")],
      ["Left out", batch.rejected > 0 && `${batch.rejected.toLocaleString("en")} bad lines`],
      ["Rate", batch.perMinute !== null && `${Math.round(batch.perMinute).toLocaleString("en")} a minute`],
      ["Ends, at this rate", batch.estimatedEnd !== null && html`<${Age} time=${batch.estimatedEnd} />`],
      ["At once, at most", batch.maxParallel],
      ["Stops after failures", batch.stopAfterFailures],
      ["Accepted", html`<${Age} time=${batch.createdAt} />`],
      ["First launch", batch.startedAt !== null && html`<${Age} time=${batch.startedAt} />`],
      ["Ended", batch.endedAt !== null && html`<${Age} time=${batch.endedAt} />`],
    ]}
  />`;
}

/** @param {{ batch: BatchView }} props */
function Causes({ batch: { id, failures, state } }) {
  /** @type {Column<BatchView["failures"][number]>[]} */
  const columns = [
    {
      title: "Cause",
      cell: ({ cause }) => html`<a href="${batchPath(id)}?cause=${cause}#items"><code>${cause}</code></a>`,
    },
    { title: "VMs", cell: ({ count }) => count.toLocaleString("en") },
  ];
  if (mayAct("submitter") && state !== "cancelling")
    columns.push({
      title: "Next",
      cell: ({ cause }) => html`<${Action}
        label="Retry"
        about=${`Retry those that failed with ${cause}`}
        title="Retry these VMs?"
        run=${() => retryFailed(id, cause)}
      >
        <p>All VMs of this batch that failed with <code>${cause}</code> go back into the queue.</p>
      <//>`,
    });
  const keyOf = (/** @type {BatchView["failures"][number]} */ { cause }) => cause;
  return html`<${Table} caption="Failures" columns=${columns} rows=${failures} keyOf=${keyOf} empty="Nothing of it has failed." />`;
}
