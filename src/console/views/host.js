import { html } from "../html.js";
import { useLive } from "../live.js";
import { Age } from "../parts/age.js";
import { Facts } from "../parts/facts.js";
import { HostActions } from "../parts/host-actions.js";
import { HostBadges, Ports } from "../parts/host-table.js";
import { Refused } from "../parts/refused.js";
import { Section } from "../parts/section.js";
import { Share } from "../parts/share.js";
import { VmTable } from "../parts/vm-tables.js";
import { hostPath } from "../route.js";
import { plural, roughly } from "../text.js";
import { useTitle } from "../title.js";
import { inStates, ON_HOSTS, readVms } from "../vm-pages.js";

/** @import {HostDetail} from "../../contract/host-view.ts" */
/** @import {VmList} from "../../contract/vm-view.ts" */
/** @import {Live} from "../live.js" */

const SHOWN_MAX = 100;

/**
 * One host: what it is, what runs on it, and what an operator may want of it.
 * @param {{ id: string }} props
 */
export function HostPage({ id }) {
  useTitle(`Host ${id}`);
  const { value: host, refusal } = /** @type {Live<HostDetail>} */ (useLive(`/v1${hostPath(id)}`));
  const path = `/v1/vms?host=${encodeURIComponent(id)}&${inStates(ON_HOSTS)}&limit=${SHOWN_MAX}`;
  const vms = /** @type {Live<VmList>} */ (useLive(path, { load: readVms }));
  return html`<h1>Host ${id}</h1>
    <${Refused} refusal=${refusal} />
    ${
      host !== undefined &&
      html`<p class="lead"><${HostBadges} host=${host} /></p>
        <${HostWish} host=${host} />
        <div class="buttons"><${HostActions} host=${host} /></div>
        <${Section} id="facts" title="What it is"><${HostFacts} host=${host} /><//>`
    }
    <${Section} id="vms" title="What it runs" refusal=${vms.refusal}>
      <${VmTable} kind="host" vms=${vms.value?.items} empty="It has no VM." />
    <//>`;
}

/** @param {{ host: HostDetail }} props */
function HostWish({ host: { admission, breaker } }) {
  return html`${
    admission !== undefined &&
    admission.state !== "open" &&
    html`<p class="told">
      ${admission.state === "cordoned" ? "It takes no new VMs" : `It is ${admission.state}`}, said by ${admission.by ?? "nobody"}
      ${" "}<${Age} time=${admission.since} />${admission.note === null ? "" : `: ${admission.note}`}.
      ${!admission.heeded && " Its worker has not heard it yet."}${admission.done && " It has no VM any more."}
      ${admission.held > 0 && ` ${plural(admission.held, "VM")} stay, since no other live host could take them.`}
      ${admission.evacuatesAt !== null && html` It is evacuated <${Age} time=${admission.evacuatesAt} />.`}
    </p>`
  }
  ${
    breaker !== null &&
    html`<p class="told">
      After ${plural(breaker.failures, "launch", "launches")} in a row that failed by its own fault it takes no VM; it tries
      again <${Age} time=${breaker.openUntil} />.
      ${breaker.cause !== null && html` <code>${breaker.cause.code}</code>: ${breaker.cause.message}`}
    </p>`
  }`;
}

/** @param {{ host: HostDetail }} props */
function HostFacts({ host }) {
  const { policy, machine } = host;
  return html`<${Facts}
    facts=${[
      ["Slots", html`<${Share} used=${host.vms} total=${host.slots} what="Slots" />`],
      ["Ports", html`<${Ports} host=${host} />`],
      ["Pools", host.pools.join(", ")],
      ["Address", host.address],
      ["Version of drover", host.version],
      ["Acceleration", host.accel],
      ["Confidential VMs", host.tee],
      ["GPU", host.gpu],
      [
        "Processor",
        machine !== null && machine !== undefined && `${machine.cpu ?? "unknown"}, ${plural(machine.cores, "core")}`,
      ],
      ["Kernel", machine?.kernel],
      ["QEMU", machine?.qemu],
      ["Worker started", host.startedAt !== null && html`<${Age} time=${host.startedAt} />`],
      ["Lease", host.leaseLeftMs !== null && `good for ${roughly(host.leaseLeftMs)}`],
      ["Silent since", host.silentSince !== null && html`<${Age} time=${host.silentSince} />`],
      ["Away until", host.awayUntil !== null && html`<${Age} time=${host.awayUntil} />`],
      [
        "When it is lost",
        policy !== null && `${policy.lost} after ${roughly(policy.lostAfterMs)}; without Redis: ${policy.onPartition}`,
      ],
    ]}
  />`;
}
