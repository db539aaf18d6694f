import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MUTANTS } from "../mutants/all.ts";

// `npm run test:mutants` takes minutes. That what it would break is still there is seen here, by whoever changes it.
test.each(MUTANTS)(
  "the mutant '$name' fits the source, and its killers have a file",
  ({ file, before, after, killers }) => {
    expect(readFileSync(file, "utf8").split(before), "its text, once").toHaveLength(2);
    expect(after).not.toBe(before);
    expect(killers.map((killer) => existsSync(killer.file))).not.toContain(false);
    expect(killers.length).toBeGreaterThan(0);
  },
);

test("no two mutants have one name", () => {
  expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
});
