import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { EXIT, EXIT_MEANINGS } from "../../../src/cli/exit-codes.ts";
import { displayWidth } from "../../../src/cli/render/text-width.ts";
import { runCli } from "./run-cli.ts";

const COMMANDS = [
  "up",
  "api",
  "worker",
  "config",
  "explain",
  "doctor",
  "hostdata",
  "token",
  "submit",
  "ls",
  "get",
  "rm",
  "retry",
  "console",
  "events",
  "policy",
  "hosts",
  "version",
  "completion",
];
const SERVER_PACKAGES = ["fastify", "bullmq", "ioredis", "pino", "execa", "@bull-board/api"];

/** Files and packages that are loaded before any command runs: static imports only. */
function staticImports(entry: string): { readonly files: ReadonlySet<string>; readonly packages: ReadonlySet<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const queue = [entry];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (files.has(file)) continue;
    files.add(file);
    const text = readFileSync(file, "utf8").replace(/import type [^;]+;/g, "");
    for (const [, target = ""] of text.matchAll(/^(?:import|export|\}) .*?from "([^"]+)";|^import "([^"]+)";/gm)) {
      if (target.startsWith(".")) queue.push(normalize(join(dirname(file), target)));
      else packages.add(target);
    }
  }
  return { files, packages };
}

test("listing VMs does not load a server", () => {
  const { files, packages } = staticImports("src/cli/main.ts");
  expect(files.size).toBeGreaterThan(30);
  expect(packages).toContain("zod");
  expect([...packages].filter((name) => SERVER_PACKAGES.includes(name))).toEqual([]);
  expect([...files].filter((file) => /^src\/(producer|worker|queue|qemu)\//.test(file))).toEqual([]);
});

describe("help", () => {
  test.each([[], ...COMMANDS.map((name) => [name])])(
    "of `drover %s` fits 80 columns and has an example",
    async (...words) => {
      const { out, err, exitCode } = await runCli([...words, "--help"]);
      expect([err, exitCode]).toEqual(["", 0]);
      for (const line of out.split("\n")) expect(displayWidth(line), line).toBeLessThanOrEqual(80);
      expect(out).toContain("Examples:");
    },
  );

  test("without any word is the help of all, on standard output", async () => {
    const { out, exitCode } = await runCli([]);
    expect(exitCode).toBe(0);
    for (const name of COMMANDS) expect(out).toMatch(new RegExp(`^  ${name}\\b`, "m"));
  });

  test("names every exit code, as docs/cli.md does", async () => {
    const { out } = await runCli([]);
    const docs = readFileSync("docs/cli.md", "utf8");
    for (const [name, meaning] of Object.entries(EXIT_MEANINGS)) {
      const code = EXIT[name as keyof typeof EXIT];
      expect(out).toContain(`${code}  ${meaning}`);
      expect(docs).toContain(`| ${code} | ${meaning} |`);
    }
  });

  test("docs/cli.md has a heading for every command", () => {
    const docs = readFileSync("docs/cli.md", "utf8");
    for (const name of COMMANDS) expect(docs).toMatch(new RegExp(`^### drover ${name}\\b`, "m"));
  });
});

describe("a mistyped word names the nearest", () => {
  test.each([
    [["lss"], "Did you mean ls?"],
    [["sumbit"], "Did you mean submit?"],
    [["ls", "--stat", "running"], "Did you mean --state?"],
    [["ls", "--state", "runing"], "Did you mean running?"],
    [["ls", "--cause", "boot_time_out"], "Did you mean boot_timeout?"],
    [["events", "-f", "--type", "vm.complete"], "Did you mean vm.completed?"],
    [["--jsn", "ls"], "Did you mean --json?"],
    [["completion", "bsh"], "bash"],
  ])("%j", async (words, text) => {
    const { err, exitCode } = await runCli(words);
    expect(exitCode).toBe(2);
    expect(err.replace(/\s+/g, " ")).toContain(text);
  });
});

test("wrong words are JSON, too, with --json", async () => {
  const { err, exitCode } = await runCli(["ls", "--state", "runing", "--json"]);
  expect(exitCode).toBe(2);
  expect(JSON.parse(err)).toMatchObject({ error: { code: "usage", exitCode: 2 } });
});

test("version is told by command and option", async () => {
  expect((await runCli(["--version"])).out).toBe("drover 1.2.3\n");
  expect((await runCli(["version"])).out).toBe("drover 1.2.3 (Node.js 20.19.0)\n");
  expect(JSON.parse((await runCli(["version", "--json"])).out)).toEqual({
    version: "1.2.3",
    node: "20.19.0",
    api: null,
  });
});
