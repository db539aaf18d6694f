import { expect, test } from "vitest";
import { showData, showProgress, showReturnValue } from "../../../src/producer/board-fields.ts";

test("what is not on the list does not appear, at any depth", () => {
  const shown = [
    showData({
      vmId: "a",
      owner: "o",
      secrets: "CANARY",
      spec: { name: "n", agentCvmServerUrl: "CANARY", probe: { type: "console", text: "CANARY" } },
    }),
    showProgress({
      state: "running",
      host: "h",
      launch: 1,
      box: "CANARY",
      cause: { code: "c", message: "m", extra: "CANARY" },
    }),
    showReturnValue({ outcome: "completed", exitCode: 0, data: "CANARY" }),
  ];
  expect(shown).toEqual([
    { vmId: "a", owner: "o", spec: { name: "n", probe: { type: "console" } } },
    { state: "running", host: "h", launch: 1, cause: { code: "c", message: "m" } },
    { outcome: "completed", exitCode: 0 },
  ]);
});

test("what has another shape is not shown at all", () => {
  expect(showData("CANARY")).toBe("(not shown)");
  expect(showProgress("CANARY")).toBe("(not shown)");
  expect(showReturnValue(["CANARY"])).toBe("(not shown)");
});

test("nothing stays nothing, and BullMQ's first progress is a number", () => {
  expect([showData(null), showReturnValue(undefined), showReturnValue(null), showProgress(0)]).toEqual([
    null,
    undefined,
    null,
    0,
  ]);
});
