import { html } from "../html.js";
import { useLive } from "../live.js";
import { FailureTable } from "../parts/failure-table.js";
import { Section } from "../parts/section.js";
import { useTitle } from "../title.js";

/** @import {FailureList} from "../../contract/failure-view.ts" */
/** @import {Live} from "../live.js" */

/** What has failed, by cause and host. */
export function FailuresPage() {
  useTitle("Failures");
  const { value, refusal } = /** @type {Live<FailureList>} */ (useLive("/v1/failures"));
  return html`<h1>Failures</h1>
    <p class="hint">Open a cause to read what it means and what to do. <a href="/vms?show=failed">All failed VMs</a></p>
    <${Section} id="list" title="By cause and host" refusal=${refusal}>
      ${refusal === undefined && html`<${FailureTable} groups=${value?.items} />`}
    <//>`;
}
