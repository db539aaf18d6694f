import { pause } from "./pause.js";
import { Refusal } from "./refusal.js";

/** However many events come, the same thing is not read more often than this. */
const APART_MS = 1_000;
/** What no event tells, for example that a host has fallen silent, shows after this long. */
const IDLE_MS = 10_000;
/** Somebody who looks again is noticed at once; this only bounds the wait. */
const HIDDEN_MS = 24 * 3_600_000;

/**
 * @template T
 * @typedef {object} Refresh
 * @property {(signal: AbortSignal) => Promise<T>} read
 * @property {(value: T) => void} onValue
 * @property {(refusal: Refusal) => void} onRefusal
 */

/**
 * Reads something again and again: soon after it was poked, else now and then, never while nobody looks at the page.
 * @template T
 * @param {Refresh<T>} refresh
 * @param {{ apartMs?: number, idleMs?: number }} [bounds]
 * @returns {{ poke(): void, close(): void }}
 */
export function keepFresh({ read, onValue, onRefusal }, { apartMs = APART_MS, idleMs = IDLE_MS } = {}) {
  const closing = new AbortController();
  let wake = new AbortController();
  const poke = () => wake.abort();
  document.addEventListener("visibilitychange", poke, { signal: closing.signal });
  void turn();
  return { poke, close: () => closing.abort() };

  async function turn() {
    while (!closing.signal.aborted) {
      wake = new AbortController();
      const waitMs = document.hidden ? 0 : await readOnce();
      await pause(Math.max(apartMs, waitMs), closing.signal);
      await pause(document.hidden ? HIDDEN_MS : idleMs, AbortSignal.any([closing.signal, wake.signal]));
    }
  }

  /** @returns {Promise<number>} for how long the server wants to be left alone */
  async function readOnce() {
    try {
      onValue(await read(closing.signal));
      return 0;
    } catch (error) {
      if (closing.signal.aborted) return 0;
      const refusal =
        error instanceof Refusal ? error : new Refusal({ status: 0, code: "", detail: "the server does not answer" });
      onRefusal(refusal);
      if (refusal.passes) poke();
      return Math.max(refusal.retryAfterS * 1_000, apartMs * 2);
    }
  }
}
