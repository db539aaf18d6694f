/**
 * @typedef {object} Route
 * @property {"fleet" | "vms" | "vm" | "batches" | "batch" | "hosts" | "host" | "failures" | "submit" | "nowhere"} view
 * @property {string} id Of what is shown; empty where the view is of many.
 * @property {URLSearchParams} query
 */

/** @type {readonly (readonly [RegExp, Route["view"]])[]} */
const VIEWS = [
  [/^\/$/, "fleet"],
  [/^\/vms\/?$/, "vms"],
  [/^\/vms\/([^/]+)$/, "vm"],
  [/^\/batches\/?$/, "batches"],
  [/^\/batches\/([^/]+)$/, "batch"],
  [/^\/hosts\/?$/, "hosts"],
  [/^\/hosts\/([^/]+)$/, "host"],
  [/^\/failures\/?$/, "failures"],
  [/^\/submit\/?$/, "submit"],
];

/**
 * What an address of the page shows.
 * @param {{ pathname: string, search: string }} address
 * @returns {Route}
 */
export function routeOf({ pathname, search }) {
  const query = new URLSearchParams(search);
  for (const [pattern, view] of VIEWS) {
    const match = pattern.exec(pathname);
    if (match !== null) return { view, id: decoded(match[1] ?? ""), query };
  }
  return { view: "nowhere", id: "", query };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param {string} id */
export const vmPath = (id) => `/vms/${encodeURIComponent(id)}`;
/** @param {string} id */
export const hostPath = (id) => `/hosts/${encodeURIComponent(id)}`;
/** @param {string} id */
export const batchPath = (id) => `/batches/${encodeURIComponent(id)}`;
