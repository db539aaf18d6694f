import { read } from "./api.js";

/** @import {VmView, VmList} from "../contract/vm-view.ts" */

/** A page of a list may be short without being the last; so many are asked for at most. */
const PAGES_MAX = 5;

/**
 * Reads a list until so many VMs are found as its `limit` wants.
 * @param {string} path with `limit`, without a cursor or with the one to begin at
 * @param {AbortSignal} signal
 * @returns {Promise<VmList>}
 */
export async function readVms(path, signal) {
  const url = new URL(path, location.origin);
  const wanted = Number(url.searchParams.get("limit"));
  /** @type {VmView[]} */
  const items = [];
  for (let page = 1; ; page++) {
    const { items: more, next } = /** @type {VmList} */ (await read(`${url.pathname}${url.search}`, signal));
    items.push(...more);
    if (next === null || items.length >= wanted || page === PAGES_MAX) return { items, next };
    url.searchParams.set("cursor", next);
    url.searchParams.set("limit", String(wanted - items.length));
  }
}

/** The query of a list of VMs in any of some states. @param {readonly string[]} states */
export function inStates(states) {
  return states.map((state) => `state=${state}`).join("&");
}

export const WAITING = ["queued", "retrying"];
export const ON_HOSTS = ["preparing", "starting", "running", "ready", "stopping"];
export const ENDED = ["completed", "removed", "expired", "failed"];
