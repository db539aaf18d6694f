import { html } from "../html.js";
import { batchPath } from "../route.js";
import { words } from "../text.js";
import { Age } from "./age.js";
import { Facts } from "./facts.js";
import { HostName } from "./vm-tables.js";

/** @import {VmView} from "../../contract/vm-view.ts" */

/**
 * What is known of a VM.
 * @param {{ vm: VmView }} props
 */
export function VmFacts({ vm }) {
  const { spec, removal, attempts } = vm;
  return html`<${Facts}
    facts=${[
      ["Id", html`<code>${vm.id}</code>`],
      ["Owner", vm.owner],
      ["Host", vm.host !== null && html`<${HostName} id=${vm.host} />`],
      ["Batch", vm.batch !== null && vm.batch !== undefined && html`<a href=${batchPath(vm.batch)}>${vm.batch}</a>`],
      ["Pool", vm.pool],
      ["Priority", vm.priority],
      ["Labels", html`<${Labels} labels=${spec.labels ?? {}} />`],
      ["Attempts", `${attempts.made} of ${attempts.max} used`],
      ["Secrets", vm.hasSecrets && "sealed; no page shows them"],
      ["Confidential", vm.tee],
      ["Acceleration", vm.accel],
      ["GPU", vm.gpu],
      ["Accepted", html`<${Age} time=${vm.createdAt} />`],
      ["Ran first", vm.runningAt !== null && html`<${Age} time=${vm.runningAt} />`],
      ["Ready", vm.readyAt !== null && html`<${Age} time=${vm.readyAt} />`],
      ["Time limit", spec.ttl],
      ["Expires", vm.expiresAt !== null && html`<${Age} time=${vm.expiresAt} />`],
      ["Ended", vm.endedAt !== null && html`<${Age} time=${vm.endedAt} />`],
      ["How it ended", vm.endReason !== null && words(vm.endReason)],
      [
        "Removal",
        removal !== null &&
          html`<span>${words(removal.reason)}, by ${removal.by}, <${Age} time=${removal.at} /></span>`,
      ],
      ["Dismissed", vm.dismissed && html`<span>by ${vm.dismissed.by}, <${Age} time=${vm.dismissed.at} /></span>`],
      ["Proof of its end", vm.unverified && "none: an operator has forgotten its host"],
    ]}
  />`;
}

/** @param {{ labels: Readonly<Record<string, string>> }} props */
function Labels({ labels }) {
  const entries = Object.entries(labels);
  if (entries.length === 0) return html`<span>none</span>`;
  return html`<ul class="labels">
    ${entries.map(
      ([name, value]) =>
        html`<li key=${name}><a href="/vms?label=${encodeURIComponent(`${name}=${value}`)}">${name}=${value}</a></li>`,
    )}
  </ul>`;
}
