import { change } from "../api.js";
import { html } from "../html.js";
import { goTo } from "../navigation.js";
import { say } from "../notice.js";
import { Section } from "../parts/section.js";
import { SentForm } from "../parts/sent-form.js";
import { requestOf } from "../request-form.js";
import { batchPath, vmPath } from "../route.js";
import { plural } from "../text.js";
import { useTitle } from "../title.js";
import { mayAct } from "../visitor.js";

/** @import {VmAccepted} from "../../contract/vm-view.ts" */
/** @import {SubmitWarning} from "../../contract/waiting.ts" */
/** @import {BatchAccepted} from "../../contract/batch.ts" */

/** Forms for a VM and for a batch. */
export function SubmitPage() {
  useTitle("Submit");
  if (!mayAct("submitter")) return html`<h1>Submit</h1><p>This is for submitters; you may look only.</p>`;
  return html`<h1>Submit</h1>
    <${Section} id="one" title="A VM"><${VmForm} /><//>
    <${Section} id="many" title="A batch"><${BatchForm} /><//>`;
}

function VmForm() {
  return html`<${SentForm} label="Submit the VM" send=${sendVm}>
    <label>Name <input name="name" maxlength="128" /></label>
    <label>Labels <input name="labels" placeholder="team=blue, run=7" aria-describedby="labels-hint" /></label>
    <p class="hint" id="labels-hint">As name=value, with commas between them.</p>
    <label>Pool <input name="pool" placeholder="default" /></label>
    <label>Priority
      <select name="priority"><option value="">normal</option><option value="high">high</option><option value="low">low</option></select>
    </label>
    <label>Time limit <input name="ttl" placeholder="90m" aria-describedby="ttl-hint" /></label>
    <p class="hint" id="ttl-hint">From its first start on, like 45s, 90m or 1h30m. Empty: none.</p>
    <label>Attempts <input name="attempts" type="number" min="1" /></label>
    <label class="check"><input type="checkbox" name="result" /> The guest hands back a result</label>
    <details>
      <summary>What it needs of its host</summary>
      <label>Confidential computing
        <select name="tee">
          <option value="">what the host has</option><option value="snp">SEV-SNP</option><option value="tdx">TDX</option>
          <option value="none">never</option>
        </select>
      </label>
      <label>GPU
        <select name="gpu">
          <option value="">where one is free</option><option value="yes">wait for one</option><option value="no">never</option>
        </select>
      </label>
      <label>Memory class <input name="memoryClass" /></label>
      <label>Labels of the host <input name="hostLabels" placeholder="zone=a" /></label>
    </details>
    <details>
      <summary>What the guest's agent gets</summary>
      <label>Address of the computation's server <input name="agentCvmServerUrl" /></label>
      <label>Client key, a file (secret) <input name="agentCvmClientKey" type="file" /></label>
      <label>Client certificate, a file <input name="agentCvmClientCert" type="file" /></label>
      <label>Certificate of the server's authority, a file <input name="agentCvmServerCaCert" type="file" /></label>
      <label>Token for certificates (secret) <input name="agentCertsToken" type="password" autocomplete="off" /></label>
      <label>KBS parameters (secret) <input name="aaKbsParams" type="password" autocomplete="off" /></label>
      <p class="hint">Secrets are sealed before they are kept; no page shows them again.</p>
    </details>
  <//>`;
}

function BatchForm() {
  return html`<${SentForm} label="Submit the batch" send=${sendBatch}>
    <label>A file of requests <input name="file" type="file" required accept=".ndjson,.jsonl,application/x-ndjson" aria-describedby="file-hint" /></label>
    <p class="hint" id="file-hint">
      NDJSON: one request as JSON in each line. The first line may hold what is common to all, as
      <code>{"batch": {"name": "nightly", "maxParallel": 20}}</code>.
    </p>
    <label class="check"><input type="checkbox" name="partial" /> Leave bad lines out and take the rest</label>
  <//>`;
}

/** @param {FormData} form @param {string} key */
async function sendVm(form, key) {
  const body = JSON.stringify(await requestOf(form));
  const content = { body, type: "application/json", headers: { "idempotency-key": key } };
  const { id, warnings = [] } = /** @type {VmAccepted & { warnings?: readonly SubmitWarning[] }} */ (
    await change("POST", "/v1/vms", content)
  );
  goTo(vmPath(id));
  if (warnings.length > 0) say(warnings.map(({ message }) => message).join(" "));
}

/** @param {FormData} form @param {string} key */
async function sendBatch(form, key) {
  const file = /** @type {File} */ (form.get("file"));
  const content = { body: file, type: "application/x-ndjson", headers: { "idempotency-key": key } };
  const path = `/v1/batches${form.has("partial") ? "?partial=true" : ""}`;
  const { id, rejected } = /** @type {BatchAccepted} */ (await change("POST", path, content));
  goTo(batchPath(id));
  if (rejected > 0) say(`${plural(rejected, "bad line was", "bad lines were")} left out.`);
}
