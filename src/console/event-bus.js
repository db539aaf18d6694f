/** @import {FleetEvent} from "./fleet-event.js" */

/** @typedef {(events: readonly FleetEvent[]) => void} EventListener */

/** @type {Set<EventListener>} */
const listeners = new Set();

/**
 * Hears what comes over the page's one event stream. An empty list says that some were missed.
 * @param {EventListener} listener
 * @returns {() => void} ends it
 */
export function onEvents(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** @param {readonly FleetEvent[]} events */
export function tellEvents(events) {
  for (const listener of listeners) listener(events);
}
