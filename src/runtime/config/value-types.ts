import { GoDurationError, parseGoDurationMs } from "../../contract/go-duration.ts";
import { DURATION_MAX_MS } from "../../contract/limits.ts";
import { GoSyntaxError, INT32_MAX, INT32_MIN, parseGoBool, parseGoInt } from "./go-strconv.ts";
import { ValueRefused, type ValueType } from "./variable.ts";

/** What Node's timers hold (2^31 - 1 ms, 24.8 days); a longer one fires at once. */
const TIMER_MAX_MS = 2 ** 31 - 1;
const PORT_MAX = 65_535;
const LINE_MAX_CHARS = 4096;
const SIZE_UNIT_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
  P: 2 ** 50,
  E: 2 ** 60,
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CONTROL_CHARACTER = /[\u0000-\u0008\u000a-\u001f\u007f]/;

/** A line of text as it stands, blanks included (as Cocos keeps them). */
export const line = (maxChars = LINE_MAX_CHARS): ValueType<string> => ({
  allowed: `one line of at most ${maxChars} characters, without control characters`,
  brief: maxChars < LINE_MAX_CHARS ? `text, at most ${maxChars} characters` : "text",
  parse(text) {
    if (text.length > maxChars) throw new ValueRefused(`has ${text.length} characters`);
    if (CONTROL_CHARACTER.test(text)) throw new ValueRefused("holds a control character or a line break");
    return text;
  },
});

/** A file's path, or the PEM text itself: the server library of Cocos takes both. */
export const pathOrPem: ValueType<string> = {
  allowed: "the path of a PEM file, or the PEM text itself",
  brief: "path or PEM",
  parse: (text) => text,
};

export const bool: ValueType<boolean> = {
  allowed: "1, t, T, TRUE, true, True, 0, f, F, FALSE, false or False (Go's spelling)",
  brief: "boolean",
  parse: (text) => explainingGo(() => parseGoBool(text)),
};

/** A boolean that may be left open. */
export const optionalBool: ValueType<boolean | undefined> = {
  allowed: `empty, or ${bool.allowed}`,
  brief: "boolean",
  parse: (text) => (text === "" ? undefined : bool.parse(text)),
};

/** A whole number in base 10, of 32 bits as Cocos reads it. */
export const int = (min = INT32_MIN, max = INT32_MAX): ValueType<number> => ({
  allowed: min === INT32_MIN ? "a whole number of 32 bits" : `a whole number from ${min} to ${max}`,
  brief: max === INT32_MAX ? `whole number${min === INT32_MIN ? "" : ` from ${min}`}` : `${min} to ${max}`,
  parse(text) {
    const value = explainingGo(() => parseGoInt(text));
    if (value < min || value > max) throw new ValueRefused("is out of range");
    return value;
  },
});

export const port = int(1, PORT_MAX);
/** A port to listen on; 0 lets the system choose one. */
export const listenPort = int(0, PORT_MAX);

/** A number between two bounds, as Go writes it (1, 0.25, 1e-3). */
export const ratio: ValueType<number> = {
  allowed: "a number from 0 to 1",
  parse(text) {
    const value = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= 0 && value <= 1)) throw new ValueRefused();
    return value;
  },
};

/** A Go duration in whole milliseconds; what is shorter counts as one. */
const goDuration = (minMs: number, maxMs: number, allowed: string): ValueType<number> => ({
  allowed,
  brief: minMs > 0 ? "duration above 0" : "duration",
  parse(text) {
    const ms = explainingGo(() => parseGoDurationMs(text));
    if (ms < minMs || ms > maxMs) throw new ValueRefused("is out of range");
    return ms;
  },
});

/** A waiting time, in milliseconds: above zero and short enough for a timer. */
export const timeout = goDuration(
  1,
  TIMER_MAX_MS,
  'a Go duration above 0 and up to 576h, for example "90s" or "1h30m"',
);
/** As {@link timeout}, and 0 for none. */
export const timeoutOrNone = goDuration(0, TIMER_MAX_MS, 'a Go duration up to 576h, for example "90s"; 0 for no limit');
/** How long one step of several may take, in milliseconds. */
export const step = goDuration(0, TIMER_MAX_MS, 'a Go duration up to 576h, for example "20s"; 0 skips the step');
/** How long something is kept, in milliseconds. */
export const keepTime = goDuration(0, DURATION_MAX_MS, 'a Go duration up to 8760h (one year), for example "72h"');

/** A timeout of the server library, in milliseconds: there a negative one means none, as 0 does. */
export const serverTimeout: ValueType<number> = {
  allowed: timeoutOrNone.allowed,
  brief: "duration",
  parse(text) {
    const ms = explainingGo(() => parseGoDurationMs(text));
    if (ms > TIMER_MAX_MS) throw new ValueRefused("is out of range");
    return Math.max(0, ms);
  },
};

export const choice = <const T extends string>(...values: readonly T[]): ValueType<T> => ({
  allowed: `one of ${values.join(", ")}`,
  parse(text) {
    const found = values.find((value) => value === text);
    if (found === undefined) throw new ValueRefused();
    return found;
  },
});

/** Text of a fixed form. */
export const matching = (pattern: RegExp, allowed: string): ValueType<string> => ({
  allowed,
  parse(text) {
    if (!pattern.test(text)) throw new ValueRefused();
    return text;
  },
});

/** Memory as QEMU's -m takes it: "2048M", "25G", "1.5G". */
export const memorySize: ValueType<string> = {
  allowed: 'a size as QEMU writes it, for example "2048M" or "25G"',
  brief: "size",
  parse(text) {
    if (memorySizeBytes(text, "B") === undefined) throw new ValueRefused();
    return text;
  },
};

/**
 * Bytes of a memory size; undefined where the text is none. Units are those of QEMU's qemu_strtosz: powers of 1024, in
 * any case. A bare number counts in `bareUnit`: for `-m`, QEMU 7.2 takes the size in MiB and maxmem in bytes.
 */
export function memorySizeBytes(text: string, bareUnit: "B" | "M"): number | undefined {
  const parts = /^(\d{1,18}(?:\.\d{1,9})?)([BKMGTPE]?)$/i.exec(text);
  if (parts === null) return undefined;
  const bytes = Number(parts[1]) * (SIZE_UNIT_BYTES[parts[2]?.toUpperCase() || bareUnit] ?? 0);
  return bytes >= 1 ? bytes : undefined;
}

/** A size in bytes; a bare number counts in MiB. */
export const sizeBytes: ValueType<number> = {
  allowed: memorySize.allowed,
  brief: "size",
  parse(text) {
    const bytes = memorySizeBytes(text, "M");
    if (bytes === undefined) throw new ValueRefused();
    return bytes;
  },
};

/** The same type, or nothing at all. */
export const optional = <T>(type: ValueType<T>): ValueType<T | undefined> => ({
  allowed: `empty, or ${type.allowed}`,
  parse: (text) => (text === "" ? undefined : type.parse(text)),
});

/** A text that may also be empty. */
export const orEmpty = (type: ValueType<string>): ValueType<string> => ({
  allowed: `empty, or ${type.allowed}`,
  parse: (text) => (text === "" ? "" : type.parse(text)),
});

/** Several values between commas; blanks around them are dropped, empty ones too, repeated ones count once. */
export const list = (item: ValueType<string>, min = 0): ValueType<readonly string[]> => ({
  allowed: `${min > 0 ? "" : "empty, or "}a list between commas; each is ${item.allowed}`,
  parse(text) {
    const parts = text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
    if (parts.length < min) throw new ValueRefused("names nothing");
    return [...new Set(parts.map((part) => item.parse(part)))];
  },
});

function explainingGo<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof GoSyntaxError || error instanceof GoDurationError) throw new ValueRefused(error.message);
    throw error;
  }
}
