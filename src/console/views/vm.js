import { useStoryOf } from "../event-path.js";
import { html } from "../html.js";
import { useLive } from "../live.js";
import { Badge } from "../parts/badge.js";
import { CauseBox } from "../parts/cause-box.js";
import { ConsolePane } from "../parts/console-pane.js";
import { Forensics } from "../parts/forensics.js";
import { LaunchTable } from "../parts/launch-table.js";
import { Refused } from "../parts/refused.js";
import { Section } from "../parts/section.js";
import { Timeline } from "../parts/timeline.js";
import { VmActions } from "../parts/vm-actions.js";
import { VmFacts } from "../parts/vm-facts.js";
import { WaitReason } from "../parts/wait-reason.js";
import { vmPath } from "../route.js";
import { readable, shortId } from "../text.js";
import { useTitle } from "../title.js";
import { ENDED, WAITING } from "../vm-pages.js";

/** @import {VmDetail} from "../../contract/vm-view.ts" */
/** @import {Live} from "../live.js" */

/**
 * The story of one VM: what it is, what happened to it, what it wrote.
 * @param {{ id: string }} props
 */
export function VmPage({ id }) {
  const { value: vm, refusal } = /** @type {Live<VmDetail>} */ (useLive(`/v1${vmPath(id)}`));
  const name = vm?.spec.name ?? `VM ${shortId(id)}`;
  useTitle(name);
  useStoryOf(id, vm?.createdAt);
  return html`<h1>${name}</h1>
    <${Refused} refusal=${refusal} />
    ${vm !== undefined && html`<${Head} vm=${vm} />`}
    <${Section} id="story" title="What happened"><${Timeline} vmId=${id} /><//>
    ${vm !== undefined && html`<${Section} id="console" title="Console"><${ConsolePane} vmId=${id} hasEnded=${ENDED.includes(vm.state)} /><//>`}
    ${vm !== undefined && html`<${Rest} vm=${vm} />`}`;
}

/** @param {{ vm: VmDetail }} props */
function Head({ vm }) {
  return html`<p class="lead">
      <${Badge} state=${vm.state} />
      ${vm.hostStatus === "unreachable" && html` <${Badge} state="unreachable" />`}
      ${vm.address !== null && html` <code>${vm.address.host}:${vm.address.port}</code>`}
      ${WAITING.includes(vm.state) && html` <${WaitReason} vm=${vm} />`}
    </p>
    ${vm.cause !== null && html`<${CauseBox} cause=${vm.cause} />`}
    <div class="buttons"><${VmActions} vm=${vm} /></div>
    <${Section} id="facts" title="What it is"><${VmFacts} vm=${vm} /><//>`;
}

/** @param {{ vm: VmDetail }} props */
function Rest({ vm: { result, launches, command, tail, forensics } }) {
  return html`${
    result !== null &&
    html`<${Section} id="result" title="Result">
      <p>Exit code: ${result.exitCode ?? "none"}</p>
      ${result.text !== null ? html`<pre>${readable(result.text)}</pre>` : result.data !== null && html`<pre>${result.data}</pre>`}
    <//>`
  }
  <${Section} id="launches" title="Launches"><${LaunchTable} launches=${launches} /><//>
  ${
    forensics?.length &&
    html`<${Section} id="forensics" title="What is kept of its failures">
      ${forensics.map((failure) => html`<${Forensics} key=${failure.epoch} failure=${failure} />`)}
    <//>`
  }
  ${
    command !== null &&
    html`<${Section} id="command" title="QEMU">
      <details><summary>The command of the last launch</summary><pre>${command}</pre></details>
      ${tail !== null && tail.qemu !== "" && html`<details><summary>Its own last output</summary><pre>${readable(tail.qemu)}</pre></details>`}
    <//>`
  }`;
}
