/**
 * Durations in Go's text form ("90m", "2h45m30.5s"), because `cocos-cli`, `cocos-manager.env` and requests use it.
 * Follows `time.ParseDuration` and `Duration.String` of Go to the letter, error texts included.
 */

const UNIT_NS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  "\u00b5s": 1_000n, // micro sign
  "\u03bcs": 1_000n, // Greek mu
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};
const INT64_MAX = (1n << 63n) - 1n;

/** Why a text is no duration, in Go's own words. */
export class GoDurationError extends Error {
  override readonly name = "GoDurationError";
}

/** Nanoseconds of a Go duration text. Throws {@link GoDurationError} with Go's message. */
export function parseGoDurationNs(text: string): bigint {
  // Made only where it is thrown: batches have many durations, and an error costs more than all the rest.
  const invalid = () => new GoDurationError(`time: invalid duration ${goQuote(text)}`);
  let rest = text;
  const negative = rest.startsWith("-");
  if (negative || rest.startsWith("+")) rest = rest.slice(1);
  if (rest === "0") return 0n;
  if (rest === "") throw invalid();
  let totalNs = 0n;
  while (rest !== "") {
    const number = /^(\d*)(\.(\d*))?/.exec(rest);
    const whole = number?.[1] ?? "";
    const fraction = number?.[3] ?? "";
    if (whole === "" && fraction === "") throw invalid();
    const wholeUnits = BigInt(whole === "" ? "0" : whole);
    if (wholeUnits > INT64_MAX + 1n) throw invalid(); // before the unit is looked at
    rest = rest.slice(number?.[0].length ?? 0);
    const unit = /^[^.\d]+/.exec(rest)?.[0];
    if (unit === undefined) throw new GoDurationError(`time: missing unit in duration ${goQuote(text)}`);
    const unitNs = Object.hasOwn(UNIT_NS, unit) ? UNIT_NS[unit] : undefined;
    if (unitNs === undefined)
      throw new GoDurationError(`time: unknown unit ${goQuote(unit)} in duration ${goQuote(text)}`);
    rest = rest.slice(unit.length);
    totalNs += wholeUnits * unitNs + fractionNs(fraction, unitNs);
    if (totalNs > INT64_MAX + 1n) throw invalid();
  }
  if (negative) return -totalNs;
  if (totalNs > INT64_MAX) throw invalid();
  return totalNs;
}

/** Whole milliseconds, rounded up so that a positive duration never becomes 0. */
export function parseGoDurationMs(text: string): number {
  const ns = parseGoDurationNs(text);
  return Number(ns > 0n ? (ns + 999_999n) / 1_000_000n : ns / 1_000_000n);
}

/** Go's `Duration.String()`: "1h30m0s", "2h45m30.5s", "100ms", "0s". */
export function formatGoDurationNs(ns: bigint): string {
  if (ns === 0n) return "0s";
  const sign = ns < 0n ? "-" : "";
  const abs = ns < 0n ? -ns : ns;
  if (abs < 1_000n) return `${sign}${abs}ns`;
  if (abs < 1_000_000n) return `${sign}${decimal(abs, 1_000n)}\u00b5s`;
  if (abs < 1_000_000_000n) return `${sign}${decimal(abs, 1_000_000n)}ms`;
  const hours = abs / 3_600_000_000_000n;
  const minutes = (abs / 60_000_000_000n) % 60n;
  const seconds = decimal(abs % 60_000_000_000n, 1_000_000_000n);
  if (hours > 0n) return `${sign}${hours}h${minutes}m${seconds}s`;
  return minutes > 0n ? `${sign}${minutes}m${seconds}s` : `${sign}${seconds}s`;
}

export function formatGoDurationMs(ms: number): string {
  return formatGoDurationNs(BigInt(Math.round(ms)) * 1_000_000n);
}

/**
 * Go keeps as many digits as fit an int64 (18 or 19) and multiplies in float64, in this order; what is below a nanosecond
 * is cut. `scale` is multiplied up as Go does it: `10 ** n` need not give the same bits.
 */
function fractionNs(digits: string, unitNs: bigint): bigint {
  let significant = 0n;
  let scale = 1;
  for (const digit of digits) {
    if (significant > INT64_MAX / 10n) break;
    const next = significant * 10n + BigInt(digit);
    if (next > INT64_MAX + 1n) break;
    significant = next;
    scale *= 10;
  }
  return BigInt(Math.trunc(Number(significant) * (Number(unitNs) / scale)));
}

function decimal(value: bigint, unit: bigint): string {
  const fraction = (value % unit)
    .toString()
    .padStart(unit.toString().length - 1, "0")
    .replace(/0+$/, "");
  return fraction === "" ? `${value / unit}` : `${value / unit}.${fraction}`;
}

function goQuote(text: string): string {
  // time.quote escapes quotes, backslashes, control characters below the blank, and all outside ASCII byte by byte.
  let quoted = "";
  for (const char of text) {
    if (char === '"' || char === "\\") quoted += `\\${char}`;
    else if (char >= " " && char <= "\u007f") quoted += char;
    else for (const byte of new TextEncoder().encode(char)) quoted += `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return `"${quoted}"`;
}
