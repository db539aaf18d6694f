import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { displayWidth } from "../../src/cli/render/text-width.ts";
import { TokenStore } from "../../src/queue/token-store.ts";
import { tokenIdOf } from "../../src/runtime/token-text.ts";
import { openRedisWorld, type RedisWorld } from "../helpers/redis-world.ts";
import { runCli } from "../unit/cli/run-cli.ts";

let world: RedisWorld;
let dir: string;
let store: TokenStore;

beforeAll(async () => {
  world = openRedisWorld();
  store = new TokenStore({ redis: world.redis, keys: world.keys });
  dir = await mkdtemp(join(tmpdir(), "drover-token-command-"));
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

const token = (words: readonly string[], env: Record<string, string> = {}) =>
  runCli(["token", ...words], {
    env: { HOME: dir, DROVER_REDIS_URL: inject("redisUrl"), DROVER_REDIS_PREFIX: world.keys.prefix, ...env },
  });

test("a token is printed once and alone, and is known by its digest only", async () => {
  const { out, err, exitCode } = await token(["add", "--owner", "physics", "--role", "submitter"]);
  expect([exitCode, out]).toEqual([0, expect.stringMatching(/^drover_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}\n$/)]);
  const text = out.trim();
  expect(err).toContain("It is shown");
  expect(err).not.toContain(text.slice(16));
  const [audit = ""] = err.split("\n").filter((line) => line.startsWith("{"));
  const id = tokenIdOf(text);
  expect(JSON.parse(audit)).toMatchObject({
    audit: true,
    action: "token.add",
    target: id,
    outcome: "ok",
    protocol: "cli",
  });
  expect(await store.verify(text)).toMatchObject({ owner: "physics", role: "submitter" });
  expect(await store.verify(`${text.slice(0, -1)}${text.endsWith("a") ? "b" : "a"}`)).toBeUndefined();
  const { out: other } = await token(["add", "--owner", "physics", "--role", "viewer", "--json"]);
  const added = JSON.parse(other);
  expect(added).toMatchObject({ owner: "physics", role: "viewer", expiresAt: null, certificate: null });
  expect(tokenIdOf(added.token)).toBe(added.id);
  // Somebody else's secret under a known id is no token.
  const forged = `drover_${tokenIdOf(text)}_${added.token.slice(16)}`;
  expect(await store.verify(forged)).toBeUndefined();
});

test("the list fits 80 columns, tells what has expired and shows no secret", async () => {
  const { out: text } = await token([
    "add",
    "--owner",
    "weather",
    "--role",
    "viewer",
    "--expires",
    "1h",
    "--label",
    "x".repeat(90),
  ]);
  await token(["add", "--role", "operator", "--certificate", "O=a very long organisation that goes on,CN=ops"]);
  const { out } = await token(["ls"]);
  for (const line of out.split("\n")) expect(displayWidth(line), line).toBeLessThanOrEqual(80);
  expect(out).toMatch(/^ID +ROLE +OWNER +EXPIRES +USED/);
  expect(out).toMatch(/viewer +weather/);
  expect(out + (await token(["ls", "--json"])).out).not.toContain(text.slice(16, 40));
});

test("a certificate is named by its subject in any order, or by its file; it has one role at a time", async () => {
  const subject = "CN=deploy,O=example";
  const made = JSON.parse(
    (await token(["add", "--role", "operator", "--certificate", "O=example, CN=deploy", "--json"])).out,
  );
  expect(made).toMatchObject({ certificate: subject, owner: subject, role: "operator" });
  expect(made).not.toHaveProperty("token");
  expect(await store.findSubject(subject)).toMatchObject({ role: "operator" });
  const twice = await token(["add", "--role", "viewer", "--certificate", subject]);
  expect([twice.exitCode, twice.err]).toEqual([2, expect.stringContaining(`drover token rm ${made.id}`)]);
  const file = await token([
    "add",
    "--role",
    "viewer",
    "--owner",
    "lab",
    "--certificate",
    "test/fixtures/tls/cert.pem",
    "--json",
  ]);
  const byUser = await token(["add", "--role", "viewer", "--certificate", "uid=ann,DC=org,O=example", "--json"]);
  expect(JSON.parse(byUser.out)).toMatchObject({ certificate: "O=example,DC=org,UID=ann" });
  expect(JSON.parse(file.out)).toMatchObject({ owner: "lab", certificate: expect.stringMatching(/^CN=/) });
  for (const wrong of ["XX=a", "=", "CN=", "/nowhere/cert.pem"])
    expect((await token(["add", "--role", "viewer", "--certificate", wrong])).exitCode, wrong).toBe(2);
});

test("what is removed counts no more; an unknown id is named and ends with 3", async () => {
  const { id } = JSON.parse((await token(["add", "--owner", "a", "--role", "viewer", "--json"])).out);
  await store.noteUse(id, Date.now());
  const { out, err, exitCode } = await token(["rm", id, "nothere"]);
  expect([exitCode, out]).toEqual([3, `${id}  removed (a)\n`]);
  expect(err).toContain('"nothere"');
  expect(await store.find(id)).toBeUndefined();
  expect(await world.redis.hexists(world.keys.tokensUsed, id)).toBe(0);
  const all = JSON.parse((await token(["ls", "--json"])).out).items.map((item: { id: string }) => item.id);
  expect((await token(["rm", ...all])).err).toContain("No token is left");
  expect((await token(["ls"])).err).toContain("There is no token");
});

test.each([
  [["add", "--owner", "a"], "--role"],
  [["add", "--role", "viewer"], "--owner"],
  [["add", "--owner", "a", "--role", "boss"], "argument 'boss' is invalid"],
  [["add", "--owner", "a:b", "--role", "viewer"], "letters, digits"],
  [["add", "--owner", "{a}", "--role", "viewer"], "letters, digits"],
  [["add", "--owner", "", "--role", "viewer"], "letters, digits"],
  [["add", "--owner", "a", "--role", "viewer", "--expires", "tomorrow"], "90s"],
  [["add", "--owner", "a", "--role", "viewer", "--label", "two\nlines"], "one line"],
])("`drover token %j` is refused with exit code 2", async (words, hint) => {
  const { err, out, exitCode } = await token(words);
  expect([exitCode, out]).toEqual([2, ""]);
  expect(err).toContain(hint);
});

test("without Redis it says so", async () => {
  const { err, exitCode } = await token(["ls"], { DROVER_REDIS_URL: "redis://127.0.0.1:1" });
  expect([exitCode, err]).toEqual([4, expect.stringContaining("DROVER_REDIS_URL")]);
});

test("the private Redis of `drover up` is found in its state directory", async () => {
  const stateDir = await mkdtemp(join(dir, "s"));
  await mkdir(join(stateDir, "redis"));
  await writeFile(join(stateDir, "redis", "url"), inject("redisUrl"));
  const { err } = await token(["ls"], { DROVER_REDIS_URL: "", DROVER_STATE_DIR: stateDir });
  expect(err).toContain("There is no token");
});
