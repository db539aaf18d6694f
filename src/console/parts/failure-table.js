import { change } from "../api.js";
import { html } from "../html.js";
import { plural } from "../text.js";
import { mayAct } from "../visitor.js";
import { Action } from "./action.js";
import { Age } from "./age.js";
import { Table } from "./table.js";
import { VmName } from "./vm-name.js";
import { HostName } from "./vm-tables.js";

/** @import {FailureGroup} from "../../contract/failure-view.ts" */
/** @import {Column} from "./table.js" */

/** A group is gone through in steps; this many of them are more than any fleet has. */
const STEPS_MAX = 10_000;

/** @type {readonly Column<FailureGroup>[]} */
const COLUMNS = [
  { title: "Cause", cell: (group) => html`<${Cause} group=${group} />` },
  { title: "Host", cell: ({ host }) => html`<${HostName} id=${host} />` },
  { title: "Failed", cell: ({ failed }) => failed.toLocaleString("en") },
  { title: "Launched again", cell: ({ launchedAgain }) => launchedAgain.toLocaleString("en") },
  { title: "Last", cell: ({ lastAt }) => html`<${Age} time=${lastAt} />` },
  { title: "Example", cell: ({ example }) => (example === null ? "–" : html`<${VmName} id=${example.vmId} />`) },
];
/** @type {Column<FailureGroup>} */
const STEPS = { title: "Next", cell: (group) => html`<${Steps} group=${group} />` };

/**
 * Failures by cause and host, with what can be done about them.
 * @param {{ groups: readonly FailureGroup[] | undefined }} props
 */
export function FailureTable({ groups }) {
  const columns = mayAct("submitter") ? [...COLUMNS, STEPS] : COLUMNS;
  const keyOf = (/** @type {FailureGroup} */ { id }) => id;
  return html`<${Table} caption="Failures" columns=${columns} rows=${groups} keyOf=${keyOf} empty="Nothing has failed." />`;
}

/** @param {{ group: FailureGroup }} props */
function Cause({ group: { cause, means, action, example } }) {
  const message = example?.message;
  return html`<details class="cause">
    <summary><code>${cause}</code></summary>
    <p>${means}</p>
    <p><b>What to do:</b> ${action}</p>
    ${message !== null && message !== undefined && html`<p class="faint">${message}</p>`}
  </details>`;
}

/** @param {{ group: FailureGroup }} props */
function Steps({ group: { id, cause, host, failed, retryable } }) {
  const which = `${plural(failed, "VM")} that failed with ${cause} on ${host}`;
  return html`<span class="buttons">
    ${
      retryable > 0 &&
      html`<${Action} label="Retry" about=${`Retry ${which}`} title="Retry these VMs?" run=${() => retry(id)}>
        <p>${plural(retryable, "VM")} that failed with <code>${cause}</code> on ${host} will be put back into the queue.</p>
      <//>`
    }
    ${
      failed > 0 &&
      html`<${Action} label="Dismiss" about=${`Dismiss ${which}`} title="Dismiss these failures?" run=${() => dismiss(id)}>
        <p>They are counted no longer. The VMs stay as they are.</p>
      <//>`
    }
  </span>`;
}

/** @param {string} id */
async function retry(id) {
  const { done, refused } = await allSteps(`/v1/failures/${encodeURIComponent(id)}/retry`, "retried");
  return `${plural(done, "VM")} in the queue again${refused === 0 ? "" : `, ${refused} cannot be retried`}.`;
}

/** @param {string} id */
async function dismiss(id) {
  const { done } = await allSteps(`/v1/failures/${encodeURIComponent(id)}/dismiss`, "dismissed");
  return `${plural(done, "failure")} dismissed.`;
}

/**
 * Goes through a whole group.
 * @param {string} path
 * @param {"retried" | "dismissed"} counted
 */
async function allSteps(path, counted) {
  let [done, refused] = [0, 0];
  let query = "";
  for (let step = 0; step < STEPS_MAX; step++) {
    const answer = /** @type {{ retried?: number, dismissed?: number, refused?: unknown[], next: string | null }} */ (
      await change("POST", `${path}${query}`)
    );
    done += answer[counted] ?? 0;
    refused += answer.refused?.length ?? 0;
    if (answer.next === null) break;
    query = `?cursor=${encodeURIComponent(answer.next)}`;
  }
  return { done, refused };
}
