import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");

/** Tests by group and file, whichever folder of the group they are in. */
const files = new Map(
  readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => [`${name.split("/")[0]}/${basename(name, ".test.ts")}`, name]),
);

/** `group/file`, and the words of names behind it in quotes. */
const REFERENCE = /`((?:unit|redis|qemu|guest|cli|e2e)\/[\w-]+)`((?:,?\s*"[^"]+")*)/g;

const text = readFileSync(join(ROOT, "docs/guarantees.md"), "utf8");
const references = [...text.matchAll(REFERENCE)].map(([, file = "", words = ""]) => ({
  file,
  words: [...words.matchAll(/"([^"]+)"/g)].map(([, name = ""]) => name.replace(/\s+/g, " ")),
}));

test("what is promised names its tests", () => {
  expect(references.length).toBeGreaterThan(60);
});

test.each(references)("docs/guarantees.md: $file $words", ({ file, words }) => {
  const path = files.get(file);
  expect(path, "the file").toBeDefined();
  const source = readFileSync(join(ROOT, "test", path ?? ""), "utf8");
  for (const name of words) expect(source).toContain(name);
});
