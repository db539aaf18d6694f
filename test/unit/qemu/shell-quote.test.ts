import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { maskCommand, shellLine } from "../../../src/qemu/shell-quote.ts";

/** What a shell makes of the line: each word, ended by a zero byte. */
const readByShell = (line: string): string[] =>
  execFileSync("/bin/sh", ["-c", `printf '%s\\0' ${line}`], { encoding: "utf8" })
    .split("\0")
    .slice(0, -1);

test("a shell reads every word back as it was", () => {
  const word = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: fc.constantFrom(..."'\"\\$`!~*?[]{}()<>|&;# \t\n=a-,") }),
  );
  const words = fc.array(
    word.map((text) => Buffer.from(text.replaceAll("\0", "")).toString()),
    { minLength: 1, maxLength: 8 },
  );
  fc.assert(
    fc.property(words, (list) => {
      expect(readByShell(shellLine(list))).toEqual(list);
    }),
    { numRuns: 150 },
  );
});

test("what needs no quotes gets none", () => {
  expect(shellLine(["qemu-system-x86_64", "-m", "2048M,slots=5", "-append", "quiet console=null", ""])).toBe(
    "qemu-system-x86_64 -m 2048M,slots=5 -append 'quiet console=null' ''",
  );
});

test("a first word with an equals sign is a command, not an assignment", () => {
  expect(shellLine(["A=b", "A=b"])).toBe("'A=b' A=b");
});

test("the key broker's parameters are hidden, whatever stands around them", () => {
  const masked = maskCommand([
    "qemu",
    "-append",
    "quiet agent.aa_kbc_params=cc_kbc::http://10.0.2.2:8080 ro",
    "-initrd",
    "x",
  ]);
  expect(masked).toEqual(["qemu", "-append", "quiet agent.aa_kbc_params=*** ro", "-initrd", "x"]);
});
