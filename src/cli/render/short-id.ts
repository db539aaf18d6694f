const SHORTEST = 8;

/** How many characters of these ids tell every one of them apart; at least 8, so that what is printed can be copied. */
export function shortIdLength(ids: readonly string[]): number {
  const sorted = [...new Set(ids)].sort();
  let needed = SHORTEST;
  for (let index = 1; index < sorted.length; index += 1) {
    needed = Math.max(needed, commonPrefix(sorted[index - 1] ?? "", sorted[index] ?? "") + 1);
  }
  return needed;
}

function commonPrefix(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length += 1;
  return length;
}
