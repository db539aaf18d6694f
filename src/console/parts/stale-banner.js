import { nowMs } from "../clock.js";
import { connection } from "../connection.js";
import { html } from "../html.js";
import { clockTime } from "../text.js";

/** A connection that comes back so soon is not worth a word. */
const UNNOTICED_MS = 2_000;

/** Says that what stands on the page is old, and since when. */
export function StaleBanner() {
  const { streamLost, readLost, since } = connection.use();
  const now = nowMs.use();
  const why = readLost ?? streamLost;
  const isShown = why !== undefined && now - since > UNNOTICED_MS;
  return html`<div role="status" class="stale-place">
    ${
      isShown &&
      html`<p class="stale">
        <b>Not up to date.</b> Since ${clockTime(new Date(since).toISOString())}: ${why}. The page goes on by itself as soon as
        it can.
      </p>`
    }
  </div>`;
}
