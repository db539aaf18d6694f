import { expect, test } from "vitest";
import { startPosition } from "../../../src/producer/event-position.ts";

const KEPT = { firstId: "100-0", lastId: "200-5" };
const EMPTY = { firstId: undefined, lastId: "0-0" };

test.each([
  [undefined, KEPT, "200-5"],
  [undefined, EMPTY, "0-0"],
  ["0", KEPT, "0-0"],
  ["0-0", KEPT, "0-0"],
  ["100-0", KEPT, "100-0"],
  ["150-3", KEPT, "150-3"],
  ["200-5", KEPT, "200-5"],
])("after %s of %j begins at %s without a gap", (wanted, bounds, after) => {
  expect(startPosition(wanted, bounds)).toEqual({ after, gap: undefined });
});

test.each([
  ["99-9", KEPT, "trimmed"],
  ["1", KEPT, "trimmed"],
  ["200-6", KEPT, "reset"],
  ["99999999999999999999-0", KEPT, "reset"],
  ["5-0", EMPTY, "reset"],
])("after %s of %j is a gap: %s", (wanted, bounds, reason) => {
  expect(startPosition(wanted, bounds)).toEqual({ after: "0-0", gap: { after: wanted, resumedAfter: "0-0", reason } });
});
