import { html } from "../html.js";

/** @import {Refusal} from "../refusal.js" */

/** A batch can have a thousand bad lines; whoever has mended these sends it again. */
const SHOWN_MAX = 20;

/**
 * Why something cannot be shown or done.
 * @param {{ refusal: Refusal | undefined }} props
 */
export function Refused({ refusal }) {
  if (refusal === undefined) return null;
  const { message, problems } = refusal;
  const isAllSaid = problems.every((problem) => message.includes(problem.message));
  return html`<div class="refusal" role="alert">
    <p>${message}</p>
    ${
      !isAllSaid &&
      html`<ul>${problems.slice(0, SHOWN_MAX).map((problem) => html`<li><${Problem} problem=${problem} /></li>`)}</ul>`
    }
  </div>`;
}

/** @param {{ problem: Refusal["problems"][number] }} props */
function Problem({ problem: { field, message, line } }) {
  return html`${line !== undefined && html`line ${line}, `}<b>${field}</b>: ${message}`;
}
