import { html } from "../html.js";

/** @import {BatchView} from "../../contract/batch.ts" */

/** What a batch's items are counted as, in the order in which they move on. @type {readonly (readonly [string, (counts: BatchView["counts"]) => number])[]} */
const PARTS = [
  ["completed", ({ completed }) => completed],
  ["failed", ({ failed, expired }) => failed + expired],
  ["removed or skipped", ({ removed, skipped }) => removed + skipped],
  ["running", ({ running, ready, stopping }) => running + ready + stopping],
  ["on the way", ({ preparing, starting, retrying }) => preparing + starting + retrying],
  ["waiting", ({ queued, listed }) => queued + listed],
];

/**
 * How far a batch has come: one bar of coloured parts, and the same in words.
 * @param {{ batch: BatchView, legend?: boolean }} props
 */
export function Progress({ batch, legend = false }) {
  const { total, ended, counts } = batch;
  const parts = PARTS.map(([name, count]) => ({ name, count: count(counts) }));
  let at = 0;
  const percent = total === 0 ? 0 : Math.floor((100 * ended) / total);
  return html`<div class="progress">
    <svg
      viewBox="0 0 100 1"
      preserveAspectRatio="none"
      role="progressbar"
      aria-label="Ended items of the batch"
      aria-valuemin="0"
      aria-valuemax=${total}
      aria-valuenow=${ended}
      aria-valuetext="${ended} of ${total} have ended"
    >
      ${parts.map(({ count }, i) => {
        const width = total === 0 ? 0 : (100 * count) / total;
        const x = at;
        at += width;
        return html`<rect class="part${i}" x=${x} y="0" width=${width} height="1" />`;
      })}
    </svg>
    <span>${percent} %, ${ended.toLocaleString("en")} of ${total.toLocaleString("en")}</span>
    ${
      legend &&
      html`<ul class="legend">
      ${parts.map(({ name, count }, i) => html`<li><span class="swatch part${i}" aria-hidden="true"></span> ${count.toLocaleString("en")} ${name}</li>`)}
    </ul>`
    }
  </div>`;
}
