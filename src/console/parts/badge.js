import { html } from "../html.js";
import { words } from "../text.js";

/** @typedef {"good" | "busy" | "waiting" | "bad" | "over"} Tone */

/** Of every state there is a sign beside the colour, for whoever does not see the difference. @type {Record<Tone, string>} */
const SIGNS = { good: "●", busy: "◐", waiting: "○", bad: "▲", over: "■" };

/** @type {Readonly<Record<string, Tone>>} */
const TONES = {
  queued: "waiting",
  listed: "waiting",
  preparing: "busy",
  starting: "busy",
  running: "good",
  ready: "good",
  stopping: "busy",
  retrying: "bad",
  completed: "over",
  removed: "over",
  skipped: "over",
  expired: "bad",
  failed: "bad",
  live: "good",
  away: "waiting",
  silent: "bad",
  gone: "over",
  lost: "bad",
  unreachable: "bad",
  cordoned: "waiting",
  draining: "busy",
  evacuating: "busy",
  active: "good",
  cancelling: "busy",
  ended: "over",
  stopped: "bad",
  cancelled: "over",
};

/**
 * A state in a word, with its sign.
 * @param {{ state: string, tone?: Tone }} props
 */
export function Badge({ state, tone = TONES[state] ?? "over" }) {
  return html`<span class="badge ${tone}"><span aria-hidden="true">${SIGNS[tone]}</span> ${words(state)}</span>`;
}
