import { html } from "../html.js";

/** @import {ComponentChildren} from "preact" */

/**
 * What is known of one thing, in lines of name and value; lines without a value are left out.
 * @param {{ facts: readonly (readonly [string, ComponentChildren])[] }} props
 */
export function Facts({ facts }) {
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return html`<dl class="facts">
    ${known.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}
