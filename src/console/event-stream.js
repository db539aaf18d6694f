import { ask } from "./api.js";
import { pause } from "./pause.js";
import { Refusal } from "./refusal.js";
import { frameReader } from "./sse.js";

/** @import {FleetEvent} from "./fleet-event.js" */

/** The server sends a sign of life every 15 s; without any for this long the connection counts as dead. */
const SILENT_MAX_MS = 40_000;
const AGAIN_MIN_MS = 500;
const AGAIN_MAX_MS = 15_000;

/**
 * @typedef {object} StreamUser
 * @property {string} path
 * @property {(events: FleetEvent[]) => void} onEvents What came at once is told at once.
 * @property {() => void} onOpen Also when events that were asked for turn out to be kept no longer.
 * @property {(why: string) => void} onLost
 */

/**
 * Follows the events until the signal says so; a lost connection goes on after the last event that came. By `fetch` and
 * not EventSource, which hides why it was refused, how long it has been silent, and events of types it was not told of.
 * @param {StreamUser} user
 * @param {AbortSignal} signal
 */
export async function followEvents(user, signal) {
  /** @type {string | undefined} */
  let lastId;
  let againMs = AGAIN_MIN_MS;
  while (!signal.aborted) {
    const silent = new AbortController();
    try {
      const headers = { accept: "text/event-stream", ...(lastId === undefined ? {} : { "last-event-id": lastId }) };
      const response = await ask(user.path, { headers, signal: AbortSignal.any([signal, silent.signal]) });
      user.onOpen();
      againMs = AGAIN_MIN_MS;
      await readAll(response, { user, silent, place: (id) => (lastId = id) });
      if (!signal.aborted) user.onLost("the event stream has ended");
    } catch (error) {
      if (signal.aborted) return;
      user.onLost(error instanceof Refusal ? error.message : "the event stream was cut");
    }
    await pause(againMs * (0.5 + Math.random()), signal); // not all pages at once after a restart
    againMs = Math.min(againMs * 2, AGAIN_MAX_MS);
  }
}

/**
 * @param {Response} response
 * @param {{ user: StreamUser, silent: AbortController, place: (id: string) => void }} to
 */
async function readAll(response, { user, silent, place }) {
  const next = frameReader();
  const text = new TextDecoder();
  const reader = response.body?.getReader();
  for (;;) {
    const timer = setTimeout(() => silent.abort(), SILENT_MAX_MS);
    const piece = await reader?.read().finally(() => clearTimeout(timer));
    if (piece === undefined || piece.done) return;
    /** @type {FleetEvent[]} */
    const events = [];
    for (const { type, data, id } of next(text.decode(piece.value, { stream: true }))) {
      if (type === "gap") user.onOpen();
      else if (data !== "") events.push(JSON.parse(data));
      if (id !== undefined) place(id);
    }
    if (events.length > 0) user.onEvents(events);
  }
}
