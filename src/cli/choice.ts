import { InvalidArgumentError } from "commander";
import { distance } from "fastest-levenshtein";

/** Reads one of a few words; a mistyped one is answered with the nearest. */
export function choice<T extends string>(allowed: readonly T[]): (text: string) => T {
  return (text) => {
    const found = allowed.find((one) => one === text);
    if (found !== undefined) return found;
    throw new InvalidArgumentError(refusal(text, allowed));
  };
}

/** The same for an option that may be repeated, or hold several words with commas between them. */
export function choices<T extends string>(
  allowed: readonly T[],
): (text: string, before: readonly T[] | undefined) => readonly T[] {
  const one = choice(allowed);
  return (text, before = []) => [...before, ...text.split(",").map((word) => one(word.trim()))];
}

/** The nearest word, if it is near enough that it may have been meant. */
export function nearestWord(text: string, words: readonly string[]): string | undefined {
  const best = words
    .map((word) => ({ word, steps: distance(text.toLowerCase(), word.toLowerCase()) }))
    .sort((a, b) => a.steps - b.steps)[0];
  return best !== undefined && best.steps <= Math.max(1, Math.floor(best.word.length / 2)) ? best.word : undefined;
}

function refusal(text: string, allowed: readonly string[]): string {
  const nearest = nearestWord(text, allowed);
  const list = `Allowed: ${allowed.join(", ")}.`;
  return nearest === undefined ? list : `\n(Did you mean ${nearest}?)\n${list}`;
}
