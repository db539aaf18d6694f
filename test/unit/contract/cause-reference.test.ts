import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { renderCauseReference } from "../../../src/contract/cause-reference.ts";

test("docs/causes.md is what the catalogue makes (npm run docs)", () => {
  expect(readFileSync("docs/causes.md", "utf8")).toBe(renderCauseReference());
});
