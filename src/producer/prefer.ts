import { PREFER_WAIT_MAX_S } from "../contract/limits.ts";

/**
 * Seconds of `Prefer: wait=N` (RFC 7240), cut to what this API offers; undefined when the header does not say. A value
 * that is no number is ignored, as the RFC wants it for every preference that is not understood.
 */
export function readPreferWaitS(header: string | string[] | undefined): number | undefined {
  const text = Array.isArray(header) ? header.join(",") : (header ?? "");
  for (const preference of text.split(",")) {
    const [token = ""] = preference.split(";");
    const seconds = /^\s*wait\s*=\s*"?(\d{1,9})"?\s*$/i.exec(token)?.[1];
    if (seconds !== undefined) return Math.min(Number(seconds), PREFER_WAIT_MAX_S);
  }
  return undefined;
}
