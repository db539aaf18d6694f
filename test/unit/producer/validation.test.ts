import { expect, test } from "vitest";
import type { z } from "zod";
import { DroverError } from "../../../src/contract/errors.ts";
import { ConsoleQuery, EventsQuery } from "../../../src/contract/http-query.ts";
import { VmRequest } from "../../../src/contract/vm-request.ts";
import { ListQuery } from "../../../src/contract/vm-view.ts";
import { validatorCompiler } from "../../../src/producer/validation.ts";

function problemsOf(schema: z.ZodType, data: unknown, httpPart = "body"): Record<string, string> {
  const result: unknown = validatorCompiler({ schema, httpPart, method: "POST", url: "/" })(data);
  if (typeof result !== "object" || result === null || !("error" in result)) throw new Error("was accepted");
  if (!(result.error instanceof DroverError)) throw result.error;
  expect(result.error.code).toBe("invalid_request");
  return Object.fromEntries(result.error.problems.map(({ field, message }) => [field, message]));
}

test("everything that is wrong is listed at once, with the value and what is allowed", () => {
  const problems = problemsOf(VmRequest, {
    name: 5,
    priority: "urgent",
    attempts: 99,
    ttl: "soon",
    probe: { type: "udp" },
    labels: { "bad key": "x" },
    pool: "Big Pool",
  });
  expect(problems).toMatchObject({
    name: "invalid input: expected string, received number (got 5)",
    priority: expect.stringMatching(/"high"\|"normal"\|"low" \(got "urgent"\)/),
    attempts: expect.stringMatching(/<=20 \(got 99\)/),
    ttl: expect.stringContaining('write it like "90m"'),
    "probe.type": expect.stringMatching(/'none' \| 'tcp' \| 'console' \(got "udp"\)/),
    "labels.bad key": expect.stringContaining("the name is not allowed"),
    pool: expect.stringContaining('(got "Big Pool")'),
  });
});

test("an unknown field names the nearest known one, and its value is never repeated", () => {
  const problems = problemsOf(VmRequest, { awsSecretAccesKey: "CANARY", tll: "1h", zzzzzzzz: "CANARY" });
  expect(problems).toEqual({
    awsSecretAccesKey: "is not known here; did you mean awsSecretAccessKey?",
    tll: "is not known here; did you mean ttl?",
    zzzzzzzz: "is not known here",
  });
});

test("values of secret fields and of files are never repeated", () => {
  const problems = problemsOf(VmRequest, {
    awsSecretAccessKey: "CANARY\n",
    agentCertsToken: 12345678901,
    aaKbsParams: "CANARY init=/bin/sh",
    agentCvmClientKey: "CANARY !",
    agentCvmClientCert: "CANARY !",
    agentCvmServerCaCert: "CANARY !",
  });
  expect(Object.keys(problems)).toHaveLength(6);
  expect(JSON.stringify(problems)).not.toMatch(/CANARY|12345678901/);
});

test("a long value is cut", () => {
  const { name } = problemsOf(VmRequest, { name: "x".repeat(10_000) });
  expect(name?.length).toBeLessThan(200);
});

test("thousands of problems are cut to what somebody may read", () => {
  const data = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`field${i}`, 1]));
  expect(Object.keys(problemsOf(VmRequest, data))).toHaveLength(50);
});

test.each([
  ["body", undefined, { body: "invalid input: expected object, received undefined" }],
  ["body", [], { body: "invalid input: expected object, received array" }],
  ["body", "text", { body: "invalid input: expected object, received string" }],
])("a %s that is no object is named as a whole", (part, data, expected) => {
  expect(problemsOf(VmRequest, data, part)).toEqual(expected);
});

test("of a field that may be one or several, the fitting alternative is explained", () => {
  expect(problemsOf(ListQuery, { state: "runing" }, "querystring")).toMatchObject({
    state: expect.stringContaining('"running"'),
  });
  const several = problemsOf(ListQuery, { state: ["running", "runing"] }, "querystring");
  expect(several).toMatchObject({ "state.1": expect.stringMatching(/"running".*\(got "runing"\)/) });
});

test.each([
  [ListQuery, { limit: "0" }, "limit"],
  [ListQuery, { limit: "many" }, "limit"],
  [ListQuery, { satte: "running" }, "satte"],
  [EventsQuery, { vm: "not-a-uuid" }, "vm"],
  [EventsQuery, { after: "$" }, "after"],
  [EventsQuery, { type: "vm.exploded" }, "type"],
  [ConsoleQuery, { bytes: "-1" }, "bytes"],
  [ConsoleQuery, { bytes: "9999999" }, "bytes"],
  [ConsoleQuery, { follow: "maybe" }, "follow"],
])("a bad parameter is named: %#", (schema, data, field) => {
  expect(Object.keys(problemsOf(schema, data, "querystring"))).toEqual([field]);
});
