import { expect, test } from "vitest";
import { Scope } from "../../../src/runtime/scope.ts";

test("what is owned is closed last first, once", async () => {
  const closed: string[] = [];
  const scope = new Scope();
  expect(scope.own("a", (name) => closed.push(name))).toBe("a");
  scope.own("b", async (name) => closed.push(name));
  await scope.close();
  await scope.close();
  expect(closed).toEqual(["b", "a"]);
});

test("one failure does not spare the others, and all failures are told", async () => {
  const closed: string[] = [];
  const scope = new Scope();
  scope.own("a", (name) => closed.push(name));
  scope.own("b", () => Promise.reject(new Error("b stuck")));
  scope.own("c", () => {
    throw new Error("c stuck");
  });
  const failure: unknown = await scope.close().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(AggregateError);
  expect(failure instanceof AggregateError ? failure.errors.map(String) : []).toEqual([
    "Error: c stuck",
    "Error: b stuck",
  ]);
  expect(closed).toEqual(["a"]);
});

test("await using closes it", async () => {
  const closed: string[] = [];
  {
    await using scope = new Scope();
    scope.own("a", (name) => closed.push(name));
  }
  expect(closed).toEqual(["a"]);
});
