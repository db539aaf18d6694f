import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CAUSE_CODES } from "../../../src/contract/causes.ts";
import { renderTroubleshooting } from "../../../src/contract/trouble-reference.ts";

const page = renderTroubleshooting();

test("docs/troubleshooting.md is what the catalogue makes (npm run docs)", () => {
  expect(readFileSync("docs/troubleshooting.md", "utf8")).toBe(page);
});

test("every cause has its section, and no other", () => {
  expect([...page.matchAll(/^### (.*)$/gm)].map(([, code]) => code)).toEqual([...CAUSE_CODES]);
});
