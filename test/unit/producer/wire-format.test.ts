import fc from "fast-check";
import { expect, test } from "vitest";
import { isMessage } from "../../../src/producer/grpc/wire-format.ts";

const FIELDS = new Set([1, 7, 13]);
const is = (...bytes: number[]) => isMessage(Uint8Array.from(bytes), FIELDS);

test("texts in known fields, and unknown fields of any kind, are a message", () => {
  expect(is()).toBe(true);
  expect(is(0x0a, 0), "field 1, empty").toBe(true);
  expect(is(0x0a, 1, 0x61, 0x3a, 2, 0x31, 0x68), "fields 1 and 7").toBe(true);
  expect(is(0x10, 0x80, 0x01), "field 2, a number").toBe(true);
  expect(is(0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0x15, 0, 0, 0, 0), "field 2, fixed").toBe(true);
  expect(is(0x80, 0x80, 0x01, 0), "field 2048").toBe(true);
});

test.each([
  ["a length beyond the end", [0x0a, 2, 0x61]],
  ["a length of 64 bits", [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]],
  ["a length that breaks off", [0x0a, 0x80]],
  ["a key that breaks off", [0x80]],
  ["field 0", [0x02, 0]],
  ["a field number beyond the last, which the decoder would cut to 1", [0x8a, 0x80, 0x80, 0x80, 0x10, 0]],
  ["a number where a text belongs", [0x08, 1]],
  ["a group", [0x13, 0x14]],
  ["a wire type that does not exist", [0x16, 0]],
  ["a fixed field that breaks off", [0x15, 0, 0, 0]],
  ["a varint without end", [0x10, ...Array.from({ length: 11 }, () => 0x80)]],
])("%s is no message", (_what, bytes) => {
  expect(is(...bytes)).toBe(false);
});

test("whatever comes, the answer does, and a cut through a text is seen", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => typeof isMessage(bytes, FIELDS) === "boolean"));
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), fc.nat(99), (content, cut) => {
      const message = [0x6a, content.length, ...content];
      expect(is(...message)).toBe(true);
      expect(is(...message.slice(0, 2 + (cut % content.length)))).toBe(false);
    }),
  );
});
