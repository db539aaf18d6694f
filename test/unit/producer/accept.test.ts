import { expect, test } from "vitest";
import { accepts } from "../../../src/producer/accept.ts";

test.each([
  [undefined, true],
  ["", true],
  ["*/*", true],
  ["application/json", true],
  ["APPLICATION/JSON", true],
  ["application/*", true],
  ["text/html, application/json;q=0.1", true],
  ["text/html;q=0.9, */*;q=0.1", true],
  ["text/html", false],
  ["text/html, text/*", false],
  ["application/json;q=0", false],
  ["application/json;q=0, */*", false],
  ["*/*;q=0, application/json", true],
  ["application/*;q=0, */*;q=1", false],
  ["application/problem+json", false],
  ["application/jsonp", false],
  [",,;;q=,", false],
])("Accept: %s takes application/json: %s", (header, expected) => {
  expect(accepts(header, "application/json")).toBe(expected);
});
