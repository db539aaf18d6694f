import { useEffect, useRef, useState } from "preact/hooks";
import { onEvents } from "../event-bus.js";
import { isBad, whatHappened, whoOf } from "../fleet-event.js";
import { html } from "../html.js";
import { batchPath, vmPath } from "../route.js";
import { clockTime } from "../text.js";
import { Section } from "./section.js";

/** @import {FleetEvent} from "../fleet-event.js" */

const SHOWN_MAX = 30;
/** A hundred events in a second are drawn in a few strokes. */
const DRAW_EVERY_MS = 400;

/** The newest events, and a way to hold them still. */
export function Ticker() {
  const newest = useRef(/** @type {FleetEvent[]} */ ([]));
  const [shown, show] = useState(/** @type {FleetEvent[]} */ ([]));
  const [isHeld, hold] = useState(false);
  const held = useRef(false);
  held.current = isHeld;
  useEffect(() => {
    let hasNew = false;
    const silence = onEvents((events) => {
      newest.current = [...events.slice(-SHOWN_MAX).reverse(), ...newest.current].slice(0, SHOWN_MAX);
      hasNew = true;
    });
    const timer = setInterval(() => {
      if (!hasNew || held.current) return;
      hasNew = false;
      show(newest.current);
    }, DRAW_EVERY_MS);
    return () => {
      silence();
      clearInterval(timer);
    };
  }, []);
  const button = html`<button type="button" class="quiet" aria-pressed=${isHeld} onClick=${() => hold(!isHeld)}>Hold still</button>`;
  return html`<${Section} id="events" title="What happens" aside=${button}>
    ${
      shown.length === 0
        ? html`<p class="hint">Events appear here as they come.</p>`
        : html`<ol class="ticker">${shown.map((event) => html`<${Line} key=${event.id} event=${event} />`)}</ol>`
    }
  <//>`;
}

/** @param {{ event: FleetEvent }} props */
function Line({ event }) {
  const path = event.type.startsWith("batch.") ? batchPath(event.subject) : vmPath(event.subject);
  return html`<li class=${isBad(event) ? "bad" : ""}>
    <time datetime=${event.time}>${clockTime(event.time)}</time>
    <span><a href=${path}>${whoOf(event)}</a> ${whatHappened(event)}</span>
  </li>`;
}
