import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { waitFor } from "../helpers/wait-for.ts";
import { buildDrover, cleanEnv, drover, ROOT, startUp } from "./drover-process.ts";

let up: Awaited<ReturnType<typeof startUp>>;
let dir: string;

beforeAll(async () => {
  await buildDrover();
  up = await startUp();
  dir = await mkdtemp(join(tmpdir(), "drover-access-"));
}, 120_000);
afterAll(async () => {
  await up[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

const bash = (script: string) =>
  execa("bash", ["-euo", "pipefail", "-c", script], {
    cwd: dir,
    env: {
      ...cleanEnv(),
      DROVER_STATE_DIR: up.stateDir,
      DROVER_URL: up.url,
      PATH: `${join(ROOT, "bin")}:${process.env["PATH"]}`,
    },
    extendEnv: false,
    reject: false,
    all: true,
    timeout: 60_000,
  });

test("the commands of docs/access.md do what they say, against the private Redis of `drover up`", async () => {
  expect((await up.run("ls")).exitCode, "as the local operator").toBe(0);
  const text = await readFile(join(ROOT, "docs/access.md"), "utf8");
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block = ""]) => block);
  expect(blocks.length).toBe(3);
  for (const block of blocks) {
    const { exitCode, all } = await bash(block.replaceAll("http://127.0.0.1:7003", up.url));
    expect(exitCode, `${block}\n${all}`).toBe(0);
    const secrets = await Promise.all(["ops.token", "physics.token"].map((name) => readFile(join(dir, name), "utf8")));
    for (const secret of secrets) expect(`${all}${up.output()}`).not.toContain(secret.trim().slice(16));
  }
});

test("from the first token on everybody has to show one, and roles and owners count", async () => {
  const nobody = await waitFor(
    async () => {
      const tried = await up.run("ls");
      return tried.exitCode === 0 ? undefined : tried;
    },
    { what: "the API to ask for a token" },
  );
  expect(nobody.stderr).toContain("DROVER_TOKEN_FILE");
  const as = async (name: string, ...words: string[]) =>
    drover(words, { DROVER_URL: up.url, DROVER_TOKEN: (await readFile(join(dir, name), "utf8")).trim() });
  const { stdout } = await drover(["token", "add", "--owner", "green", "--role", "viewer"], {
    DROVER_STATE_DIR: up.stateDir,
  });
  const green = { DROVER_URL: up.url, DROVER_TOKEN: stdout.trim() };
  expect((await drover(["submit"], green)).stderr).toContain("needs the role submitter");
  const ids = (await as("ops.token", "ls", "-q")).stdout.trim();
  expect(ids).toMatch(/^[0-9a-f-]{36}$/);
  expect((await drover(["get", ids], green)).exitCode).toBe(3);
  expect((await as("ops.token", "rm", ids)).exitCode).toBe(0);
  await waitFor(async () => (await as("physics.token", "ls")).exitCode !== 0, {
    what: "a token that was removed to count no more, within the 5 s that the API believes it",
  });
});
