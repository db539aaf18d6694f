import { observable } from "./observable.js";

/**
 * @typedef {object} Connection
 * @property {string | undefined} streamLost Why no events come.
 * @property {string | undefined} readLost Why nothing can be read.
 * @property {number} since When it began, in milliseconds since 1970.
 */

/** How the page stands with its server. */
export const connection = observable(
  /** @type {Connection} */ ({ streamLost: undefined, readLost: undefined, since: Date.now() }),
);

/** @param {string | undefined} why undefined: it is open */
export function streamIs(why) {
  change({ streamLost: why });
}

/** @param {string | undefined} why undefined: answers come */
export function readingIs(why) {
  change({ readLost: why });
}

/** @param {Partial<Connection>} part */
function change(part) {
  const before = connection.get();
  const next = { ...before, ...part };
  if (next.streamLost === before.streamLost && next.readLost === before.readLost) return;
  const wasLost = before.streamLost !== undefined || before.readLost !== undefined;
  connection.set({ ...next, since: wasLost ? before.since : Date.now() });
}
