import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  formatGoDurationMs,
  formatGoDurationNs,
  GoDurationError,
  parseGoDurationMs,
  parseGoDurationNs,
} from "../../../src/contract/go-duration.ts";

const goldens: { in: string; ns?: string; goString?: string; error?: string }[] = JSON.parse(
  readFileSync("test/fixtures/goldens/go-durations.json", "utf8"),
);

test.each(goldens)("$in is read as Go reads it", ({ in: text, ns, goString, error }) => {
  if (error !== undefined) {
    expect(() => parseGoDurationNs(text)).toThrow(error);
    return;
  }
  expect(String(parseGoDurationNs(text))).toBe(ns);
  expect(formatGoDurationNs(parseGoDurationNs(text))).toBe(goString);
});

test("what is printed is read back, over the whole range", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (ns) => {
      expect(parseGoDurationNs(formatGoDurationNs(ns))).toBe(ns);
    }),
  );
});

test("digits beyond what an int64 holds are dropped, not refused", () => {
  expect(parseGoDurationNs("0.99999999999999999999s")).toBe(1_000_000_000n);
  expect(parseGoDurationNs("0.1234567890123456789h")).toBe(444_444_440_444n);
});

test.each([
  ["9999999999999999999d", 'time: invalid duration "9999999999999999999d"'], // too large before the unit is looked at
  ["1d", 'time: unknown unit "d" in duration "1d"'],
  ["1\u007f", 'time: unknown unit "\u007f" in duration "1\u007f"'],
  ["1é", 'time: unknown unit "\\xc3\\xa9" in duration "1\\xc3\\xa9"'],
  ["1..s", 'time: missing unit in duration "1..s"'],
  [".s", 'time: invalid duration ".s"'],
])("%j is refused in Go's words", (text, message) => {
  expect(() => parseGoDurationNs(text)).toThrow(new GoDurationError(message));
});

test("milliseconds are rounded up, so that something never becomes nothing", () => {
  expect(parseGoDurationMs("1ns")).toBe(1);
  expect(parseGoDurationMs("1001us")).toBe(2);
  expect(parseGoDurationMs("-1us")).toBe(0);
  expect(formatGoDurationMs(90_000)).toBe("1m30s");
});
