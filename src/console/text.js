const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** A stable code in words: `guest_shutdown` is "guest shutdown". @param {string} code */
export function words(code) {
  return code.replaceAll("_", " ");
}

/** The first part of a UUID, enough to tell VMs apart on a page. @param {string} id */
export function shortId(id) {
  return /^[0-9a-f]{8}-/.test(id) ? id.slice(0, 8) : id;
}

/** @param {number} count @param {string} one @param {string} [many] */
export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** How long something takes, roughly: "45 s", "12 min", "3 h", "5 days". @param {number} ms */
export function roughly(ms) {
  const size = Math.abs(ms);
  if (size < MINUTE_MS) return `${Math.round(size / 1_000)} s`;
  if (size < HOUR_MS) return `${Math.round(size / MINUTE_MS)} min`;
  if (size < 2 * DAY_MS) return `${Math.round(size / HOUR_MS)} h`;
  return `${Math.round(size / DAY_MS)} days`;
}

/** How long ago, or how far ahead. @param {number} ms from then to now */
export function ago(ms) {
  if (Math.abs(ms) < 1_000) return "now";
  return ms > 0 ? `${roughly(ms)} ago` : `in ${roughly(ms)}`;
}

/** @param {string} time ISO 8601 */
export function clockTime(time) {
  return new Date(time).toLocaleTimeString("en-GB");
}

/** @param {string} time ISO 8601 */
export function fullTime(time) {
  return new Date(time).toLocaleString("en-GB", { timeZoneName: "short" });
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const TERMINAL_ORDERS = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[ -/]*[0-~])/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const OTHER_CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** What a guest wrote to its terminal, without what only a terminal understands. @param {string} output */
export function readable(output) {
  return output
    .replace(TERMINAL_ORDERS, "")
    .replace(/\r+\n?/g, "\n")
    .replace(OTHER_CONTROLS, "");
}
