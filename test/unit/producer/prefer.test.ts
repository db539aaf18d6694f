import { expect, test } from "vitest";
import { readPreferWaitS } from "../../../src/producer/prefer.ts";

test.each([
  [undefined, undefined],
  ["", undefined],
  ["wait=10", 10],
  ["respond-async, wait=10", 10],
  ["WAIT = 5", 5],
  ['wait="7"', 7],
  ["wait=3; foo=bar", 3],
  ["wait=0", 0],
  ["wait=601", 600],
  ["wait=999999999", 600],
  ["wait=99999999999999999999", undefined],
  ["wait=-1", undefined],
  ["wait=1.5", undefined],
  ["wait", undefined],
  ["waiting=5", undefined],
  [["respond-async", "wait=4"], 4],
])("Prefer: %j waits %s s", (header, expected) => {
  expect(readPreferWaitS(header)).toBe(expected);
});
