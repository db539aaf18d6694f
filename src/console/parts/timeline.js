import { useEffect, useState } from "preact/hooks";
import { onEvents } from "../event-bus.js";
import { isBad, whatHappened } from "../fleet-event.js";
import { html } from "../html.js";
import { clockTime, fullTime } from "../text.js";

/** @import {FleetEvent} from "../fleet-event.js" */

const SHOWN_MAX = 300;

/**
 * The events of one VM in their order, as the page's stream brings them.
 * @param {{ vmId: string }} props
 */
export function Timeline({ vmId }) {
  const [events, setEvents] = useState(/** @type {readonly FleetEvent[]} */ ([]));
  useEffect(() => {
    setEvents([]);
    return onEvents((came) => {
      const mine = came.filter(({ subject }) => subject === vmId);
      if (mine.length === 0) return;
      setEvents((known) =>
        [...known, ...mine.filter(({ id }) => !known.some((one) => one.id === id))].slice(-SHOWN_MAX),
      );
    });
  }, [vmId]);
  if (events.length === 0) return html`<p class="hint">Its events are not kept any more, or have not come yet.</p>`;
  return html`<ol class="timeline">
    ${events.map(
      (event) => html`<li key=${event.id} class=${isBad(event) ? "bad" : ""}>
        <time datetime=${event.time} title=${fullTime(event.time)}>${clockTime(event.time)}</time>
        <span>It ${whatHappened(event)}.</span>
      </li>`,
    )}
  </ol>`;
}
