import { execFileSync, spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { runCli } from "./run-cli.ts";

const hasZsh = spawnSync("zsh", ["--version"]).error === undefined;

async function script(shell: string): Promise<string> {
  return (await runCli(["completion", shell])).out;
}

/** What bash offers after these words, the last of which is being typed. */
function completeInBash(text: string, ...words: readonly string[]): readonly string[] {
  const list = words.map((word) => `'${word}'`).join(" ");
  const program = `${text}\ndrover() { echo 3f2a91c4-1111-4222-8333-444455556666; }\nCOMP_WORDS=(drover ${list}); COMP_CWORD=${words.length}\n_drover\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync("bash", ["--norc", "-c", program], { encoding: "utf8" }).trim().split("\n");
}

test("bash reads its script and completes commands, options, words, files and ids", async () => {
  const text = await script("bash");
  execFileSync("bash", ["-n"], { input: text });
  expect(completeInBash(text, "su")).toEqual(["submit"]);
  expect(completeInBash(text, "ls", "--st")).toEqual(["--state"]);
  expect(completeInBash(text, "submit", "--pri")).toEqual(["--priority"]);
  expect(completeInBash(text, "submit", "--priority", "h")).toEqual(["high"]);
  expect(completeInBash(text, "--url", "http://x", "ls", "--state", "run")).toEqual(["running"]);
  expect(completeInBash(text, "submit", "-f", "package.js")).toEqual(["package.json"]);
  expect(completeInBash(text, "get", "3f")).toEqual(["3f2a91c4-1111-4222-8333-444455556666"]);
  expect(completeInBash(text, "completion", "")).toEqual(["bash", "zsh"]);
});

test("secrets' own flags are offered as files only", async () => {
  const text = await script("bash");
  expect(text).toContain("--aws-secret-access-key-file");
  expect(text).not.toMatch(/--aws-secret-access-key[^-]/);
});

test("zsh reads its script", async (context) => {
  if (!hasZsh) return context.skip("zsh is not installed on this machine");
  execFileSync("zsh", ["-n"], { input: await script("zsh") });
});

test("the script for zsh names every command and quotes what it must", async () => {
  const text = await script("zsh");
  for (const name of ["submit", "ls", "list", "events", "completion"]) expect(text).toContain(`    '${name}:`);
  // An odd number of single quotes in a line would open a string that the next line ends.
  for (const line of text.split("\n").filter((one) => !one.startsWith("#")))
    expect(line.replaceAll("'\\''", "").split("'").length % 2, line).toBe(1);
});
