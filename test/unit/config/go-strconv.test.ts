import fc from "fast-check";
import { expect, test } from "vitest";
import { goQuote, goTrimSpace, parseGoBool, parseGoInt } from "../../../src/runtime/config/go-strconv.ts";

test("every number of 32 bits is read back, with and without plus sign and leading zeros", () => {
  fc.assert(
    fc.property(fc.integer(), fc.nat(5), (value, zeros) => {
      const digits = "0".repeat(zeros) + Math.abs(value);
      expect(parseGoInt(value < 0 ? `-${digits}` : digits)).toBe(value);
      if (value >= 0) expect(parseGoInt(`+${digits}`)).toBe(value);
    }),
  );
});

test.each([
  ["2147483648", "value out of range"],
  ["-2147483649", "value out of range"],
  ["4294967296x", "value out of range"],
  ["3000000000x", "invalid syntax"],
  ["", "invalid syntax"],
  ["+", "invalid syntax"],
  ["--1", "invalid syntax"],
  ["1_000", "invalid syntax"],
  ["0x10", "invalid syntax"],
  ["1.0", "invalid syntax"],
  [" 1", "invalid syntax"],
])("%s is refused as Go does it: %s", (text, fault) => {
  expect(() => parseGoInt(text)).toThrow(`strconv.ParseInt: parsing ${JSON.stringify(text)}: ${fault}`);
});

test("minus zero is zero", () => {
  expect(Object.is(parseGoInt("-0"), 0)).toBe(true);
});

test("a word that is no boolean is named", () => {
  expect(() => parseGoBool("yes")).toThrow('strconv.ParseBool: parsing "yes": invalid syntax');
});

test.each([
  ["plain", '"plain"'],
  ['q"\\', '"q\\"\\\\"'],
  ["\u0007\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'],
  ["\u0001\u007f", '"\\x01\\x7f"'],
  ["\u00a0\u00ad\ufeff\u0085", '"\\u00a0\\u00ad\\ufeff\\u0085"'],
  ["é€😀", '"é€😀"'],
  ["\u{e0001}", '"\\U000e0001"'],
])("%j is quoted as strconv.Quote does it", (text, quoted) => {
  expect(goQuote(text)).toBe(quoted);
});

test("blanks are those of Go", () => {
  expect(goTrimSpace("\u0085\u00a0\t x y\u3000\v")).toBe("x y");
  expect(goTrimSpace("\ufeff")).toBe("\ufeff");
});
