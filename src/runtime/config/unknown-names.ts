import { distance } from "fastest-levenshtein";
import type { FieldProblem } from "../../contract/errors.ts";
import type { Env } from "./env-reader.ts";
import { KNOWN_NAMES, REFUSED_DISK_NAME } from "./known-names.ts";
import { ALL_VARIABLES } from "./variables.ts";

const OURS = /^(MANAGER|DROVER)_/;
/** More wrong letters than this make another word. */
const NEAREST_MAX_EDITS = 6;

const REAL_NAMES: readonly string[] = ALL_VARIABLES.flatMap(({ name, aliases }) => [name, ...aliases]);

/** A warning for each MANAGER_* or DROVER_* name that changes nothing: known ones with the reason, others with the nearest name. */
export function warnOfUnreadNames(env: Env): readonly FieldProblem[] {
  const warnings: FieldProblem[] = [];
  for (const name of Object.keys(env).sort()) {
    if (!OURS.test(name) || env[name] === undefined || REAL_NAMES.includes(name) || name === REFUSED_DISK_NAME)
      continue;
    const known = KNOWN_NAMES.find((candidate) => candidate.name === name);
    // An empty value of a known name is what the shipped environment file holds: it says nothing and needs no warning.
    if (known !== undefined && env[name] === "") continue;
    warnings.push({ field: name, message: known?.reason ?? unknown(name) });
  }
  return warnings;
}

/** The nearest name that is read, where one is near enough. */
function nearestName(name: string): string | undefined {
  let nearest: string | undefined;
  let fewestEdits = Math.min(NEAREST_MAX_EDITS, Math.floor(name.length / 3)) + 1;
  for (const candidate of REAL_NAMES) {
    const edits = distance(name, candidate);
    if (edits < fewestEdits) [nearest, fewestEdits] = [candidate, edits];
  }
  return nearest;
}

function unknown(name: string): string {
  const nearest = nearestName(name);
  return `Nothing reads this name${nearest === undefined ? "" : `; the nearest one is ${nearest}`}.`;
}
