import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ERROR_CATALOGUE } from "../../../src/contract/errors.ts";
import { renderEventReference } from "../../../src/contract/event-reference.ts";
import { VM_EVENT_TYPES } from "../../../src/contract/vm-event.ts";

const doc = (name: string) => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), "utf8");

test("docs/errors.md has every code with its status and title, and no other", () => {
  const rows = [...doc("errors.md").matchAll(/^\| `(\w+)` \| (\d+) \| (.+?) \| (.+) \|$/gm)];
  const written = Object.fromEntries(
    rows.map(([, code = "", status, title]) => [code, { status: Number(status), title }]),
  );
  expect(written).toEqual(ERROR_CATALOGUE);
  expect(
    rows.map(([, , status]) => Number(status)),
    "in the order of the statuses",
  ).toEqual(rows.map(([, , status]) => Number(status)).sort((a, b) => a - b));
});

test("docs/events.md is what the contract says", () => {
  expect(doc("events.md")).toBe(renderEventReference());
  for (const type of VM_EVENT_TYPES) expect(doc("events.md")).toContain(`### ${type}\n`);
});

test("docs/api.md names only variables and codes that exist", () => {
  const text = `${doc("api.md")}${doc("errors.md")}`;
  const codes = [...text.matchAll(/(?:40\d|41\d|42\d|43\d|50\d) `([a-z_]+)`/g)].map(([, code]) => code ?? "");
  expect(codes.length).toBeGreaterThan(3);
  for (const code of codes) expect(Object.keys(ERROR_CATALOGUE)).toContain(code);
});
