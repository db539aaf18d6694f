import { observable } from "./observable.js";

const TICK_MS = 1_000;

/** The time as the page shows it. One clock for all, so that all ages change at once. */
export const nowMs = observable(Date.now());

export function startClock() {
  setInterval(() => {
    if (!document.hidden) nowMs.set(Date.now());
  }, TICK_MS);
}
