import { html } from "../html.js";
import { useLive } from "../live.js";
import { HostTable } from "../parts/host-table.js";
import { Section } from "../parts/section.js";
import { useTitle } from "../title.js";

/** @import {HostList} from "../../contract/host-view.ts" */
/** @import {Live} from "../live.js" */

/** All hosts, for operators. */
export function HostsPage() {
  useTitle("Hosts");
  const { value, refusal } = /** @type {Live<HostList>} */ (useLive("/v1/hosts"));
  return html`<h1>Hosts</h1>
    <${Section} id="list" title="All hosts" refusal=${refusal}>
      ${refusal === undefined && html`<${HostTable} hosts=${value?.items} />`}
    <//>`;
}
