import { html } from "../html.js";

/**
 * How much of something is used, as a bar and in numbers.
 * @param {{ used: number, total: number | null | undefined, what: string }} props
 */
export function Share({ used, total, what }) {
  if (total === null || total === undefined || total <= 0) return html`<span>${used}</span>`;
  return html`<span class="share"
    ><meter min="0" max=${total} value=${Math.min(used, total)} aria-label=${what}></meter> ${used} of ${total}</span
  >`;
}
