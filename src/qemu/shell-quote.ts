/** Characters that mean nothing to a POSIX shell inside a word. */
const PLAIN_WORD = /^[A-Za-z0-9_@%+=:,./-]+$/;
/** Up to the first blank: the API lets no blank into the value. */
const KBS_PARAMETERS = /(agent\.aa_kbc_params=)\S+/g;
const MASK = "***";

/** One line that a POSIX shell reads back as exactly these words. */
export function shellLine(words: readonly string[]): string {
  return words.map((word, index) => shellWord(word, index === 0)).join(" ");
}

/** The same words, with the key broker's parameters on the kernel command line hidden: they are secrets. */
export function maskCommand(words: readonly string[]): readonly string[] {
  return words.map((word) => word.replace(KBS_PARAMETERS, `$1${MASK}`));
}

function shellWord(word: string, isFirst: boolean): string {
  // A=B in front would be an assignment instead of a command.
  if (PLAIN_WORD.test(word) && !(isFirst && word.includes("="))) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
