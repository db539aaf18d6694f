import fc from "fast-check";
import { expect, test } from "vitest";
import { RESULT_MAX_BYTES } from "../../../src/contract/limits.ts";
import { lastGuestResult } from "../../../src/contract/result-frame.ts";

const frame = (exit: number, payload: Buffer | string) =>
  Buffer.concat([
    Buffer.from(`drover-result exit=${exit} length=${Buffer.from(payload).length}\n`),
    Buffer.from(payload),
    Buffer.from("\n"),
  ]);

test("the last complete message counts", () => {
  expect(lastGuestResult(Buffer.concat([frame(1, "first"), Buffer.from("noise\n"), frame(7, "last")]))).toEqual({
    exitCode: 7,
    payload: Buffer.from("last"),
  });
  expect(lastGuestResult(Buffer.concat([frame(3, "whole"), frame(4, "cut").subarray(0, -2)]))).toEqual({
    exitCode: 3,
    payload: Buffer.from("whole"),
  });
});

test("a header inside a payload is payload", () => {
  const inner = frame(9, "inner").toString();
  expect(lastGuestResult(frame(0, inner))).toEqual({ exitCode: 0, payload: Buffer.from(inner) });
});

test("nothing, too much and nonsense are no result", () => {
  expect(lastGuestResult(Buffer.alloc(0))).toBeUndefined();
  expect(lastGuestResult(Buffer.from("drover-result exit=256 length=0\n\n"))).toBeUndefined();
  expect(lastGuestResult(frame(0, Buffer.alloc(RESULT_MAX_BYTES + 1)))).toBeUndefined();
  expect(lastGuestResult(frame(0, Buffer.alloc(RESULT_MAX_BYTES)))?.payload.length).toBe(RESULT_MAX_BYTES);
});

test("any payload after any flood comes back byte for byte, and no input makes it throw", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 500 }),
      fc.uint8Array({ maxLength: 500 }),
      fc.integer({ min: 0, max: 255 }),
      (flood, payload, exit) => {
        lastGuestResult(Buffer.from(flood));
        const stream = Buffer.concat([Buffer.from(flood), frame(exit, Buffer.from(payload))]);
        expect(lastGuestResult(stream)).toEqual({ exitCode: exit, payload: Buffer.from(payload) });
      },
    ),
  );
});
