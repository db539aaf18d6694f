import { html } from "../html.js";

/** @import {HostView} from "../../contract/host-view.ts" */
/** @import {VmList} from "../../contract/vm-view.ts" */
/** @import {FailureGroup} from "../../contract/failure-view.ts" */

/**
 * The fleet in a few numbers.
 * @param {{ hosts: readonly HostView[] | undefined, waiting: VmList | undefined, failures: readonly FailureGroup[] | undefined }} props
 */
export function Tiles({ hosts, waiting, failures }) {
  const known = hosts ?? [];
  const live = known.filter(({ status }) => status === "live");
  const vms = sum(known.map((host) => host.vms));
  const slots = sum(live.map((host) => Math.max(0, host.slots ?? 0)));
  const failed = sum((failures ?? []).map((group) => group.failed));
  /** @type {readonly (readonly [string, string])[]} */
  const tiles = [
    ["hosts live", `${live.length} of ${known.length}`],
    ["VMs on hosts", `${vms}`],
    ["slots of live hosts", `${slots}`],
    ["VMs waiting", waiting === undefined ? "…" : `${waiting.items.length}${waiting.next === null ? "" : " or more"}`],
    ["failed VMs", failures === undefined ? "…" : `${failed}`],
  ];
  return html`<dl class="tiles">
    ${tiles.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

/** @param {readonly number[]} numbers */
function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}
