/**
 * Booleans and whole numbers as Go's package strconv reads them, error texts included, because the operator's variables
 * and files were written for a Go program. The order of the checks follows Go's source (internal/strconv/atoi.go, 1.26):
 * it decides which of two faults of one text is named.
 */

const TRUE_TEXTS = new Set(["1", "t", "T", "TRUE", "true", "True"]);
const FALSE_TEXTS = new Set(["0", "f", "F", "FALSE", "false", "False"]);

const UINT32_MAX = 2 ** 32 - 1;
export const INT32_MAX = 2 ** 31 - 1;
export const INT32_MIN = -(2 ** 31);

/** Why a text is no value, in Go's own words. */
export class GoSyntaxError extends Error {
  override readonly name = "GoSyntaxError";
}

/** `strconv.ParseBool`. Throws {@link GoSyntaxError} with Go's message. */
export function parseGoBool(text: string): boolean {
  if (TRUE_TEXTS.has(text)) return true;
  if (FALSE_TEXTS.has(text)) return false;
  throw numError("ParseBool", text, "invalid syntax");
}

/**
 * `strconv.ParseInt(text, 10, 32)`: the env library of Cocos reads every `int` with 32 bits. Throws
 * {@link GoSyntaxError} with Go's message.
 */
export function parseGoInt(text: string): number {
  const negative = text.startsWith("-");
  const digits = negative || text.startsWith("+") ? text.slice(1) : text;
  if (digits === "") throw numError("ParseInt", text, "invalid syntax");
  let magnitude = 0;
  for (const char of digits) {
    if (char < "0" || char > "9") throw numError("ParseInt", text, "invalid syntax");
    magnitude = magnitude * 10 + Number(char);
    if (magnitude > UINT32_MAX) throw numError("ParseInt", text, "value out of range"); // Go looks no further
  }
  const value = negative && magnitude > 0 ? -magnitude : magnitude;
  if (value > INT32_MAX || value < INT32_MIN) throw numError("ParseInt", text, "value out of range");
  return value;
}

/** `strconv.Quote`. */
export function goQuote(text: string): string {
  let quoted = "";
  for (const char of text) quoted += quotedChar(char);
  return `"${quoted}"`;
}

/** `strings.TrimSpace`: unlike JavaScript's `trim` it takes U+0085 for a blank and U+FEFF not. */
export function goTrimSpace(text: string): string {
  return text.replace(/^[\p{White_Space}]+|[\p{White_Space}]+$/gu, "");
}

function numError(func: string, text: string, fault: string): GoSyntaxError {
  return new GoSyntaxError(`strconv.${func}: parsing ${goQuote(text)}: ${fault}`);
}

const SHORT_ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '\\"'],
  ["\\", "\\\\"],
  ["\u0007", "\\a"],
  ["\b", "\\b"],
  ["\f", "\\f"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
  ["\v", "\\v"],
]);

/**
 * Go prints letters, marks, numbers, punctuation, symbols and the ASCII space as they are. Go 1.26 knows Unicode 15.0:
 * a character that is younger than that is escaped by Go and printed here.
 */
const PRINTABLE = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

function quotedChar(char: string): string {
  const short = SHORT_ESCAPES.get(char);
  if (short !== undefined) return short;
  if (PRINTABLE.test(char)) return char;
  const codePoint = char.codePointAt(0) ?? 0;
  const hex = codePoint.toString(16);
  if (codePoint < 0x80) return `\\x${hex.padStart(2, "0")}`;
  return codePoint < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}
