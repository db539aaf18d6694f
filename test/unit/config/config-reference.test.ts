import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { configReference, renderConfigReference } from "../../../src/runtime/config/config-reference.ts";
import { ALL_VARIABLES } from "../../../src/runtime/config/variables.ts";

test("docs/configuration.md is what the registry gives", () => {
  expect(readFileSync("docs/configuration.md", "utf8")).toBe(renderConfigReference());
});

test("the reference tells what an unset variable means where its default is empty", () => {
  const row = configReference().find(({ name }) => name === "MANAGER_QEMU_ENABLE_TDX");
  expect(row).toMatchObject({
    group: "tee",
    default: { text: "detect", isWords: true },
    allowed: "boolean",
    secret: false,
  });
});

test("no name is declared twice, and each has a sentence", () => {
  const names = ALL_VARIABLES.flatMap(({ name, aliases }) => [name, ...aliases]);
  expect(new Set(names).size).toBe(names.length);
  for (const { name, doc } of ALL_VARIABLES) expect(doc, name).toMatch(/^[A-Z].*\.$/);
});

test("every default is a value of its type", () => {
  for (const { name, type, default: text } of ALL_VARIABLES) expect(() => type.parse(text), name).not.toThrow();
});
