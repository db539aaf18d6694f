import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildDrover, cleanEnv, ROOT, startUp } from "./drover-process.ts";

/** What `npm pack` makes, installed where nothing of this checkout is, with packages from the registry or npm's cache. */
const folder = mkdtempSync(join(tmpdir(), "drv-pack-"));
const command = join(folder, "node_modules/.bin/drover");
let files: readonly string[] = [];

beforeAll(async () => {
  await buildDrover();
  const packed = await execa("npm", ["pack", "--json", "--pack-destination", folder], { cwd: ROOT });
  const [{ filename, files: listed }] = JSON.parse(packed.stdout) as [{ filename: string; files: { path: string }[] }];
  files = listed.map(({ path }) => path);
  const flags = ["--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
  await execa("npm", ["install", ...flags, join(folder, filename)], { cwd: folder });
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the package has what runs, what is deployed and what is read, and nothing else", () => {
  const tops = new Set(files.map((path) => path.split("/")[0]));
  expect([...tops].sort()).toEqual(
    ["CHANGELOG.md", "LICENSE", "README.md", "bin", "deploy", "dist", "docs", "guest", "package.json"].sort(),
  );
  expect(files).toContain("dist/cli/main.js");
  expect(files).toContain("dist/queue/lua/accept-13.lua");
  expect(files.filter((path) => /(^|\/)(test|\.env)|secrets\.key|\.pem$/.test(path))).toEqual([]);
});

test("the installed command says its version and explains itself", async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  const run = (...words: string[]) => execa(command, words, { env: cleanEnv(), extendEnv: false, cwd: folder });
  expect((await run("version")).stdout).toContain(`drover ${version}`);
  expect((await run("config")).stdout).toContain("MANAGER_MAX_VMS");
});

test("the installed `drover up` runs a VM from submit to result", { timeout: 150_000 }, async () => {
  await using up = await startUp({}, command);
  const submitted = await execa(command, ["submit", "--result", "--wait", "--timeout", "120s"], {
    env: { ...cleanEnv(), DROVER_URL: up.url },
    extendEnv: false,
    cwd: folder,
    reject: false,
  });
  expect(submitted.exitCode, submitted.stderr).toBe(0);
  expect(submitted.stderr).toContain("hello from");
});
