import { change } from "../api.js";
import { html } from "../html.js";
import { hostPath } from "../route.js";
import { Action } from "./action.js";

/** @import {HostView} from "../../contract/host-view.ts" */

/** @typedef {{ verb: "cordon" | "drain" | "evacuate" | "resume", label: string, title: string, text: string, done: string }} Wish */

/** @type {Record<"cordon" | "drain" | "evacuate" | "resume", Wish>} */
const WISHES = {
  cordon: {
    verb: "cordon",
    label: "Cordon",
    title: "Send it no more VMs?",
    text: "What runs there runs on.",
    done: "takes no new VMs",
  },
  drain: {
    verb: "drain",
    label: "Drain",
    title: "Drain this host?",
    text: "It takes no new VMs, and those that it has end by themselves.",
    done: "is draining",
  },
  evacuate: {
    verb: "evacuate",
    label: "Evacuate",
    title: "Evacuate this host?",
    text: "Its VMs are stopped and start anew on other hosts, as far as these can take them. What runs in them now is lost.",
    done: "is being evacuated",
  },
  resume: {
    verb: "resume",
    label: "Resume",
    title: "Let it take VMs again?",
    text: "It takes new VMs as before.",
    done: "takes VMs again",
  },
};

/** @type {Readonly<Record<HostView["admission"]["state"], readonly Wish[]>>} */
const NEXT = {
  open: [WISHES.cordon, WISHES.drain, WISHES.evacuate],
  cordoned: [WISHES.resume, WISHES.drain, WISHES.evacuate],
  draining: [WISHES.resume, WISHES.evacuate],
  evacuating: [WISHES.resume],
};

/**
 * What an operator may want of a host, as it stands.
 * @param {{ host: HostView }} props
 */
export function HostActions({ host: { id, status, admission } }) {
  return html`${NEXT[admission?.state ?? "open"].map(
    ({ verb, label, title, text, done }) => html`<${Action}
      key=${verb}
      label=${label}
      title=${title}
      danger=${verb === "evacuate"}
      run=${async (/** @type {FormData} */ form) => {
        await change("POST", `/v1${hostPath(id)}/${verb}${queryOf(form)}`);
        return `${id} ${done}.`;
      }}
    >
      <p>${text}</p>
      ${
        verb === "drain" &&
        html`<label>Evacuate what is left after <input name="timeout" placeholder="2h" /></label>
          <p class="hint">Empty: it may take as long as it takes.</p>`
      }
      ${verb !== "resume" && html`<label>Note for others <input name="note" maxlength="200" /></label>`}
    <//>`,
  )}
  ${
    status !== "live" &&
    html`<${Action} label="Forget" title="Forget this host?" danger=${true} run=${() => forget(id)}>
      <p>
        By this you say that nothing runs on ${id} any more. Its VMs go back into the queue and may be launched elsewhere. If
        it does still run them, they run twice.
      </p>
    <//>`
  }`;
}

/** @param {string} id */
async function forget(id) {
  await change("DELETE", `/v1${hostPath(id)}`);
  return `${id} is forgotten.`;
}

/** The fields of a dialog that were filled in. @param {FormData} form */
function queryOf(form) {
  const query = new URLSearchParams();
  for (const [name, value] of form) if (typeof value === "string" && value !== "") query.set(name, value);
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}
