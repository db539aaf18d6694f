import { useEffect, useState } from "preact/hooks";
import { read } from "./api.js";
import { readingIs } from "./connection.js";
import { onEvents } from "./event-bus.js";
import { keepFresh } from "./refresh.js";

/** @import {FleetEvent} from "./fleet-event.js" */
/** @import {Refusal} from "./refusal.js" */

/**
 * @template T
 * @typedef {object} Live What a component knows of something at the server.
 * @property {T | undefined} value The last that was read, also when it cannot be read any more.
 * @property {Refusal | undefined} refusal Why it cannot be read.
 * @property {() => void} again Reads it soon: something was changed.
 */

/** @type {Set<() => void>} */
const everything = new Set();

/** Reads all that the page shows anew: its visitor has changed something. */
export function refreshAll() {
  for (const poke of everything) poke();
}

/**
 * What stands at a path of the API, kept fresh by events.
 * @template T
 * @param {string | undefined} path undefined: nothing is read
 * @param {{ concerns?: (event: FleetEvent) => boolean, load?: (path: string, signal: AbortSignal) => Promise<unknown> }} [how]
 *   `concerns`: which events make a new reading worth it; all without it
 * @returns {Live<T>}
 */
export function useLive(path, { concerns = () => true, load = read } = {}) {
  const [state, setState] = useState(/** @type {{ path?: string, value?: T, refusal?: Refusal | undefined }} */ ({}));
  const [handle, setHandle] = useState(/** @type {{ poke(): void } | undefined} */ (undefined));
  useEffect(() => {
    if (path === undefined) return;
    const fresh = keepFresh({
      read: (signal) => load(path, signal),
      onValue(value) {
        readingIs(undefined);
        setState({ path, value: /** @type {T} */ (value) });
      },
      onRefusal(refusal) {
        if (refusal.passes) readingIs(refusal.message);
        else setState({ path, refusal });
      },
    });
    setHandle(fresh);
    everything.add(fresh.poke);
    const silence = onEvents((events) => {
      if (events.length === 0 || events.some(concerns)) fresh.poke();
    });
    return () => {
      silence();
      everything.delete(fresh.poke);
      fresh.close();
    };
  }, [path]);
  const mine = state.path === path ? state : {};
  return { value: mine.value, refusal: mine.refusal, again: () => handle?.poke() };
}
