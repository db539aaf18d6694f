import { nowMs } from "../clock.js";
import { html } from "../html.js";
import { ago, fullTime } from "../text.js";

/**
 * How long ago something was, counting on; the exact time in the tooltip.
 * @param {{ time: string | null | undefined }} props
 */
export function Age({ time }) {
  const now = nowMs.use();
  if (time === null || time === undefined) return html`<span>–</span>`;
  return html`<time datetime=${time} title=${fullTime(time)}>${ago(now - Date.parse(time))}</time>`;
}
