import { html } from "../html.js";
import { Age } from "./age.js";

/** @import {WaitingView} from "../../contract/waiting.ts" */
/** @import {VmView} from "../../contract/vm-view.ts" */

/** Their message says already who is before it. @type {readonly WaitingView["reason"][]} */
const PLACE_SAID = ["behind_others", "starting_soon"];

/**
 * Why a VM is not launched yet.
 * @param {{ vm: VmView }} props
 */
export function WaitReason({ vm: { waiting, retryAt, pool } }) {
  if (waiting !== undefined && waiting !== null) {
    const { reason, message, position } = waiting;
    const place = position === null || PLACE_SAID.includes(reason) ? "" : ` Place ${position} in its queue.`;
    return html`<span>${message}<span class="faint">${place}</span></span>`;
  }
  if (retryAt !== null) return html`<span>Its next attempt comes <${Age} time=${retryAt} />.</span>`;
  return html`<span>It waits for a host of pool ${pool}.</span>`;
}
