import { distance } from "fastest-levenshtein";

/** A name that differs in more than this part of its letters is no slip of the finger. */
const MISTYPED_MAX_RATIO = 0.4;
/** Longer than any field; bounds the comparison, whatever a client sends. */
const COMPARED_MAX_CHARS = 64;

/** The field that a mistyped name most likely means, if any. */
export function nearestField(name: string, fields: readonly string[]): string | undefined {
  const typed = name.slice(0, COMPARED_MAX_CHARS).toLowerCase();
  let best: { field: string; steps: number } | undefined;
  for (const field of fields) {
    const steps = distance(field.toLowerCase(), typed);
    if (best === undefined || steps < best.steps) best = { field, steps };
  }
  return best !== undefined && best.steps <= Math.ceil(best.field.length * MISTYPED_MAX_RATIO) ? best.field : undefined;
}
