import { html } from "../html.js";
import { clockTime, readable } from "../text.js";
import { Age } from "./age.js";
import { Facts } from "./facts.js";

/** @import {ForensicsView} from "../../contract/forensics.ts" */

/**
 * What is kept of one failed launch, folded up.
 * @param {{ failure: ForensicsView }} props
 */
export function Forensics({ failure }) {
  const { epoch, host, port, cause, exit, qemuVersion, endedAt, command, qmpEvents, qemuTail, consoleTail } = failure;
  return html`<details>
    <summary>Launch ${epoch} on ${host}: <code>${cause.code}</code></summary>
    <${Facts}
      facts=${[
        ["What was said", cause.message],
        ["Ended", html`<${Age} time=${endedAt} />`],
        ["Port", port],
        ["QEMU", qemuVersion],
        ["Its exit", exit !== null && (exit.signal ?? `code ${exit.exitCode ?? "unknown"}`)],
      ]}
    />
    <${Text} title="Command" text=${command ?? ""} />
    <${Text} title="What QEMU told" text=${qmpEvents.map(({ at, name, data }) => `${clockTime(at)} ${name} ${data}`).join("\\n")} />
    <${Text} title="Last lines of QEMU" text=${readable(qemuTail)} />
    <${Text} title="Last lines of the console" text=${readable(consoleTail)} />
    <${Text} title="Files" text=${(failure.files ?? []).map(fileLine).join("\\n")} />
  </details>`;
}

/** @param {{ title: string, text: string }} props */
function Text({ title, text }) {
  return text === "" ? null : html`<h3>${title}</h3><pre>${text}</pre>`;
}

/** @param {NonNullable<ForensicsView["files"]>[number]} file */
function fileLine({ role, path, bytes, sha256, problem }) {
  return `${role}: ${path} (${bytes ?? "?"} bytes) ${problem ?? `sha256 ${sha256 ?? "?"}`}`;
}
