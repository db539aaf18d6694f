import { useEffect, useState } from "preact/hooks";
import { onEvents } from "../event-bus.js";
import { whatHappened, whoOf } from "../fleet-event.js";
import { html } from "../html.js";
import { plural } from "../text.js";

/** @import {FleetEvent} from "../fleet-event.js" */

/** Whoever listens to the page needs time to hear a sentence before the next one. */
const SAY_EVERY_MS = 5_000;

/** Tells people who cannot see the page what has changed, in one sentence now and then. */
export function Announcer() {
  const [sentence, tell] = useState("");
  useEffect(() => {
    /** @type {FleetEvent[]} */
    let unsaid = [];
    const silence = onEvents((events) => {
      unsaid.push(...events);
    });
    const timer = setInterval(() => {
      if (unsaid.length > 0) tell(summary(unsaid));
      unsaid = [];
    }, SAY_EVERY_MS);
    return () => {
      silence();
      clearInterval(timer);
    };
  }, []);
  return html`<p class="unseen" aria-live="polite">${sentence}</p>`;
}

/** @param {readonly FleetEvent[]} events */
function summary(events) {
  const [first] = events;
  if (first !== undefined && events.every(({ subject }) => subject === first.subject)) {
    const last = events.at(-1) ?? first;
    return `${whoOf(last)} ${whatHappened(last)}`;
  }
  const count = (/** @type {string} */ type) => events.filter((event) => event.type === type).length;
  const parts = [
    `${count("vm.running")} started`,
    `${count("vm.completed")} completed`,
    `${count("vm.failed")} failed`,
  ].filter((part) => !part.startsWith("0 "));
  return `${plural(events.length, "event")}${parts.length === 0 ? "" : `: ${parts.join(", ")}`}`;
}
