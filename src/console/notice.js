import { observable } from "./observable.js";

/** What the page has to say of the last thing that was done; read out as well. */
export const notice = observable("");

/** @param {string} text */
export function say(text) {
  notice.set(text);
}
