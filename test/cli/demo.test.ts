import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { isSameProcess } from "../../src/runtime/lasting-identity.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { cleanEnv, pidsWith, ROOT } from "./drover-process.ts";

/** Real boots, beside other groups that boot, too. */
vi.setConfig({ testTimeout: 180_000 });

let home = "";

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "dd-"));
});

afterEach(async () => {
  // A Redis that has lost its owner may still be writing for a moment.
  await rm(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

function startDemo(...words: readonly string[]) {
  const env = { ...cleanEnv(), XDG_STATE_HOME: home, MANAGER_HTTP_PORT: "not looked at" };
  const child = execa("node", [join(ROOT, "scripts/demo.mjs"), ...words], {
    env,
    extendEnv: false,
    reject: false,
    all: true,
  });
  let output = "";
  child.all.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  const has = (text: string) =>
    waitFor(() => output.includes(text), { timeoutMs: 120_000, what: `"${text}" in the demo's output:\n${output}` });
  return { child, has, output: () => output };
}

const leftovers = () => pidsWith(`${home}/drover-demo`);

test("--once shows one life in 80 columns, ends with 0 and leaves nothing running", async () => {
  const demo = startDemo("--once");
  const { exitCode } = await demo.child;
  const story = "queued preparing starting running ready answer drover-guest: completed outcome result cleaned".split(
    " ",
  );
  expect(demo.output().replace(/\s+/g, " ")).toMatch(new RegExp(story.join(".*")));
  expect(exitCode).toBe(0);
  expect(demo.output()).not.toContain("\u001b");
  for (const line of demo.output().split("\n")) expect(line.length, line).toBeLessThanOrEqual(80);
  expect(await leftovers()).toEqual([]);
});

test("it stays until Ctrl-C and leaves nothing running; what is in the way is told", async () => {
  const stranger = createServer().on("error", () => undefined);
  stranger.listen(7003, "127.0.0.1"); // or somebody else has it already: as good
  const demo = startDemo();
  await demo.has("Ctrl-C stops everything.");
  expect(demo.output()).toContain("7003 is taken");
  const url = /dashboard +(http:\S+)\/board/.exec(demo.output())?.[1];
  const second = startDemo("--once");
  expect((await second.child).exitCode).toBe(1);
  expect(second.output()).toContain("another drover");
  expect((await fetch(`${url}/health`)).status).toBe(200);
  demo.child.kill("SIGINT");
  expect((await demo.child).exitCode).toBe(0);
  expect(await leftovers()).toEqual([]);
  stranger.close();
});

test("Ctrl-C in the middle of the VM's life leaves nothing running", async () => {
  const demo = startDemo("--once");
  await demo.has("running ");
  demo.child.kill("SIGINT");
  expect((await demo.child).exitCode).toBe(130);
  expect(await leftovers()).toEqual([]);
});

test("killed outright it leaves nothing running either", async () => {
  const demo = startDemo();
  await demo.has("running ");
  const { server } = JSON.parse(await readFile(join(home, "drover-demo/redis/process.json"), "utf8"));
  demo.child.kill("SIGKILL");
  await demo.child;
  await waitFor(() => !isSameProcess(server), { timeoutMs: 60_000, what: "the end of Redis" });
  await waitFor(async () => (await leftovers()).length === 0, { timeoutMs: 60_000, what: "the end of everything" });
});

test("an unknown word gives the usage", async () => {
  const { exitCode, all } = await startDemo("--onec").child;
  expect([exitCode, all]).toEqual([2, expect.stringContaining("Usage: npm run demo")]);
});
