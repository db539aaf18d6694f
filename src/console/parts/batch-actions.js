import { change } from "../api.js";
import { html } from "../html.js";
import { batchPath } from "../route.js";
import { plural } from "../text.js";
import { mayAct } from "../visitor.js";
import { Action } from "./action.js";

/** @import {BatchRetried, BatchView} from "../../contract/batch.ts" */

/**
 * What can be done with a batch as it stands.
 * @param {{ batch: BatchView }} props
 */
export function BatchActions({ batch: { id, state, counts } }) {
  if (!mayAct("submitter")) return null;
  return html`${
    counts.failed > 0 &&
    state !== "cancelling" &&
    html`<${Action} label="Retry failed" title="Retry the failed VMs?" run=${() => retryFailed(id)}>
      <p>${plural(counts.failed, "failed VM")} of this batch will be put back into the queue.</p>
    <//>`
  }
  ${
    (state === "active" || state === "stopping") &&
    html`<${Action} label="Cancel" title="Cancel this batch?" danger=${true} run=${() => cancel(id)}>
      <p>Nothing further is launched, and what runs is removed.</p>
    <//>`
  }`;
}

/**
 * Puts the failed VMs of a batch back into the queue.
 * @param {string} id
 * @param {string} [cause] only those that failed so
 */
export async function retryFailed(id, cause) {
  const query = cause === undefined ? "" : `?cause=${encodeURIComponent(cause)}`;
  const { retried, refused } = /** @type {BatchRetried} */ (
    await change("POST", `/v1${batchPath(id)}/retry-failed${query}`)
  );
  return `${plural(retried, "VM")} in the queue again${refused.length === 0 ? "" : `, ${refused.length} or more cannot be retried`}.`;
}

/** @param {string} id */
async function cancel(id) {
  await change("DELETE", `/v1${batchPath(id)}`);
  return "The batch is being cancelled.";
}
