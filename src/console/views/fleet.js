import { isOfVm } from "../fleet-event.js";
import { html } from "../html.js";
import { useLive } from "../live.js";
import { BatchTable } from "../parts/batch-table.js";
import { FailureTable } from "../parts/failure-table.js";
import { HostTable } from "../parts/host-table.js";
import { Section } from "../parts/section.js";
import { Ticker } from "../parts/ticker.js";
import { Tiles } from "../parts/tiles.js";
import { VmTable } from "../parts/vm-tables.js";
import { useTitle } from "../title.js";
import { mayAct } from "../visitor.js";
import { inStates, ON_HOSTS, readVms, WAITING } from "../vm-pages.js";

/** @import {HostList, HostView} from "../../contract/host-view.ts" */
/** @import {VmList, VmView} from "../../contract/vm-view.ts" */
/** @import {FailureList} from "../../contract/failure-view.ts" */
/** @import {BatchList} from "../../contract/batch.ts" */
/** @import {Live} from "../live.js" */

const SHOWN_MAX = 15;
const BATCHES_MAX = 5;

/** All of the fleet at a glance. */
export function FleetPage() {
  useTitle("Fleet");
  const isOperator = mayAct("operator");
  const hosts = /** @type {Live<HostList>} */ (useLive(isOperator ? "/v1/hosts" : undefined));
  const live = useVms(ON_HOSTS);
  const waiting = useVms(WAITING);
  const failures = /** @type {Live<FailureList>} */ (useLive("/v1/failures", { concerns: isAboutFailures }));
  const batches = /** @type {Live<BatchList>} */ (useLive(`/v1/batches?limit=${BATCHES_MAX}`));
  return html`<h1>Fleet</h1>
    ${isOperator && html`<${Tiles} hosts=${hosts.value?.items} waiting=${waiting.value} failures=${failures.value?.items} />`}
    ${
      isOperator &&
      html`<${Section} id="hosts" title="Hosts" aside=${html`<a href="/hosts">All</a>`} refusal=${hosts.refusal}>
        <${HostTable} hosts=${hosts.value && worstFirst(hosts.value.items).slice(0, SHOWN_MAX)} />
      <//>`
    }
    <${Section} id="waiting" title="What waits, and why" aside=${more(waiting, "waiting")} refusal=${waiting.refusal}>
      <${VmTable} kind="waiting" vms=${waiting.value && nextFirst(waiting.value.items)} empty="Nothing waits." />
    <//>
    <${Section} id="running" title="What runs where" aside=${more(live, "live")} refusal=${live.refusal}>
      <${VmTable} kind="live" vms=${live.value?.items} empty="No host has a VM right now." />
    <//>
    <${Section} id="failures" title="Failures by cause" refusal=${failures.refusal}>
      <${FailureTable} groups=${failures.value?.items} />
    <//>
    <${Section} id="batches" title="Batches" aside=${html`<a href="/batches">All</a>`} refusal=${batches.refusal}>
      <${BatchTable} batches=${batches.value?.items} />
    <//>
    <${Ticker} />`;
}

/** VMs by their places in their queues. @param {readonly VmView[]} vms */
function nextFirst(vms) {
  const placeOf = (/** @type {VmView} */ { waiting }) => waiting?.position ?? Number.MAX_SAFE_INTEGER;
  return [...vms].sort((a, b) => placeOf(a) - placeOf(b));
}

/**
 * Hosts that do not take VMs come first: of a large fleet not all are shown.
 * @param {readonly HostView[]} hosts
 */
function worstFirst(hosts) {
  const isWell = (/** @type {HostView} */ { status, breaker, admission }) =>
    status === "live" && breaker === null && admission?.state === "open";
  return [...hosts.filter((host) => !isWell(host)), ...hosts.filter(isWell)];
}

/** @param {readonly string[]} states */
function useVms(states) {
  const path = `/v1/vms?${inStates(states)}&limit=${SHOWN_MAX}`;
  return /** @type {Live<VmList>} */ (useLive(path, { concerns: isOfVm, load: readVms }));
}

/** @param {Live<VmList>} list @param {string} show */
function more({ value }, show) {
  const hasMore = value !== undefined && value.next !== null;
  return html`<a href="/vms?show=${show}">${hasMore ? "There are more" : "All"}</a>`;
}

/** @param {{ type: string }} event */
function isAboutFailures({ type }) {
  return type === "vm.failed" || type === "vm.retrying" || type === "vm.queued" || type === "vm.removed";
}
