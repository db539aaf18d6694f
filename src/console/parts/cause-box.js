import { html } from "../html.js";

/** @import {VmView} from "../../contract/vm-view.ts" */

/**
 * Why a VM, or its last launch, failed, and what can be done.
 * @param {{ cause: NonNullable<VmView["cause"]> }} props
 */
export function CauseBox({ cause: { code, message, fault, action } }) {
  return html`<div class="cause-box">
    <p><code>${code}</code> ${fault === "host" ? "(the host's fault)" : "(the VM's own fault)"}</p>
    <pre>${message}</pre>
    <p><b>What to do:</b> ${action}</p>
  </div>`;
}
