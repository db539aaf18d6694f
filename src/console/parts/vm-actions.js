import { change } from "../api.js";
import { html } from "../html.js";
import { vmPath } from "../route.js";
import { mayAct } from "../visitor.js";
import { ENDED } from "../vm-pages.js";
import { Action } from "./action.js";

/** @import {VmView} from "../../contract/vm-view.ts" */

/**
 * What can be done with a VM as it stands.
 * @param {{ vm: VmView }} props
 */
export function VmActions({ vm: { id, state, removal } }) {
  if (!mayAct("submitter")) return null;
  return html`${
    state === "failed" &&
    html`<${Action} label="Retry" title="Retry this VM?" run=${() => retry(id)}>
      <p>It goes back into the queue with all its attempts.</p>
    <//>`
  }
  ${
    !ENDED.includes(state) &&
    html`<${Action} label="Remove" title="Remove this VM?" danger=${true} run=${(/** @type {FormData} */ form) => remove(id, form)}>
      <p>${removal === null ? "It is stopped, and never runs again." : "Its removal is on the way already; by force it is quicker."}</p>
      <label class="check"><input type="checkbox" name="force" /> By force: do not ask the guest first</label>
    <//>`
  }`;
}

/** @param {string} id */
async function retry(id) {
  await change("POST", `/v1${vmPath(id)}/retry`);
  return "It is in the queue again.";
}

/** @param {string} id @param {FormData} form */
async function remove(id, form) {
  await change("DELETE", `/v1${vmPath(id)}${form.has("force") ? "?force" : ""}`);
  return "Its removal is under way.";
}
