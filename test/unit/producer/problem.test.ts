import { expect, test } from "vitest";
import { DroverError, ERROR_CATALOGUE, type ErrorCode } from "../../../src/contract/errors.ts";
import { Problem } from "../../../src/contract/vm-view.ts";
import { retryAfterS, toDroverError, toProblem } from "../../../src/producer/problem.ts";

const REQUEST = { id: "req-1", path: "/v1/vms" };
const CODES = Object.keys(ERROR_CATALOGUE) as ErrorCode[]; // the keys of a const object

test.each(CODES)("%s becomes a problem document with its status and title", (code) => {
  const problem = Problem.parse(toProblem(new DroverError(code, "says why"), REQUEST));
  expect(problem).toMatchObject({
    ...ERROR_CATALOGUE[code],
    code,
    type: `urn:drover:error:${code}`,
    instance: "/v1/vms",
    requestId: "req-1",
  });
});

test.each(CODES.filter((code) => ERROR_CATALOGUE[code].status === 500))("%s says nothing of its own text", (code) => {
  const problems = [{ field: "x", message: "CANARY" }];
  const problem = toProblem(new DroverError(code, "CANARY", { problems, cause: new Error("CANARY") }), REQUEST);
  expect(JSON.stringify(problem)).not.toContain("CANARY");
  expect(problem.detail).toContain("req-1");
});

test("an unknown error is an internal one, whatever was thrown", () => {
  for (const thrown of [new Error("CANARY"), "CANARY", undefined, null, { code: "vm_not_found" }]) {
    const error = toDroverError(thrown);
    expect(error.code).toBe("internal_error");
    expect(error.cause).toBe(thrown === undefined ? undefined : thrown);
  }
});

test("field problems are passed on for what the client can mend", () => {
  const problems = [{ field: "ttl", message: "is no duration" }];
  expect(toProblem(new DroverError("invalid_request", "x", { problems }), REQUEST).problems).toEqual(problems);
});

test("Retry-After goes with what passes by itself", () => {
  expect(CODES.filter((code) => retryAfterS(code) !== undefined)).toEqual([
    "too_many_requests",
    "redis_unavailable",
    "shutting_down",
  ]);
});
