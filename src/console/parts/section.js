import { html } from "../html.js";
import { Refused } from "./refused.js";

/** @import {ComponentChildren} from "preact" */
/** @import {Refusal} from "../refusal.js" */

/**
 * A part of a view with its own heading.
 * @param {{ id: string, title: string, aside?: ComponentChildren, refusal?: Refusal | undefined, children?: ComponentChildren }} props
 */
export function Section({ id, title, aside, refusal, children }) {
  return html`<section aria-labelledby=${id}>
    <div class="heading"><h2 id=${id}>${title}</h2>${aside}</div>
    <${Refused} refusal=${refusal} />
    ${children}
  </section>`;
}
