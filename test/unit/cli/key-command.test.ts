import { chmod, mkdtemp, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseSecretKeys } from "../../../src/runtime/secret-keys.ts";
import { runCli } from "./run-cli.ts";

let dir: string;
let file: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "drover-key-command-"));
  file = join(dir, "secrets.key");
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const idsOf = async () => [...parseSecretKeys(await readFile(file, "utf8"), "file").byId.keys()];
const key = (words: readonly string[], setting: Parameters<typeof runCli>[1] = {}) =>
  runCli(["key", ...words], { env: { HOME: dir }, ...setting });

test("`key new` prints a key that can be used, another one each time", async () => {
  const [one, two] = [await key(["new", "--id", "y2027"]), await key(["new"])];
  expect(parseSecretKeys(one.out, "printed").sealingId).toBe("y2027");
  expect(one.out.split(":")[1]).not.toBe(two.out.split(":")[1]);
  expect(JSON.parse((await key(["new", "--json"])).out)).toEqual({ id: expect.any(String), key: expect.any(String) });
  const wrong = await key(["new", "--id", "a b"]);
  expect([wrong.exitCode, wrong.out]).toEqual([2, ""]);
});

test("`key new --file` makes the file, then puts each new key first, and shows none of them", async () => {
  const made = await key(["new", "--file", file, "--id", "a"]);
  expect([made.exitCode, made.out]).toEqual([0, "a  seals and opens\n"]);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const before = await readFile(file, "utf8");
  const { out } = await key(["new", "--file", file, "--id", "b"]);
  expect(out).toBe("b  seals and opens\na  opens\n");
  const text = await readFile(file, "utf8");
  expect(await idsOf()).toEqual(["b", "a"]);
  expect(text.endsWith(before), "the old key is as it was").toBe(true);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const twice = await key(["new", "--file", file, "--id", "a"]);
  expect([twice.exitCode, await idsOf()]).toEqual([2, ["b", "a"]]);
});

test("a key goes through a fleet: added behind, made first, the old one dropped", async () => {
  await key(["new", "--file", file, "--id", "old"]);
  const fresh = (await key(["new", "--id", "fresh"])).out;
  const added = await key(["add", "--file", file], { stdin: fresh });
  expect(added.out).toBe("old    seals and opens\nfresh  opens\n");
  await key(["use", "fresh", "--file", file]);
  expect(await idsOf()).toEqual(["fresh", "old"]);
  const refused = await key(["rm", "fresh", "--force", "--file", file]);
  expect([refused.exitCode, refused.err]).toEqual([2, expect.stringContaining("the one that seals")]);
  await key(["rm", "old", "--force", "--file", file]);
  expect(await readFile(file, "utf8")).toBe(fresh);
});

test("nothing is dropped while nobody can ask Redis whether it is needed", async () => {
  for (const id of ["a", "b"]) await key(["new", "--file", file, "--id", id]);
  await utimes(file, 1, 1); // read by everybody long ago
  const env = { HOME: dir, DROVER_REDIS_URL: "redis://127.0.0.1:1" };
  const { exitCode, err } = await key(["rm", "a", "--file", file], { env });
  expect([exitCode, err]).toEqual([4, expect.stringContaining("Redis cannot be asked")]);
  expect(await idsOf()).toEqual(["b", "a"]);
});

test("`key ls` names the file or the variable that the keys come from, in this order of search", async () => {
  await key(["new", "--file", file, "--id", "a"]);
  const listed = await key(["ls", "--json"], { env: { HOME: dir, DROVER_SECRETS_KEY_FILE: file } });
  expect(JSON.parse(listed.out)).toEqual({ source: file, sealingId: "a", ids: ["a"] });
  const env = { HOME: dir, DROVER_SECRETS_KEY: (await key(["new", "--id", "v"])).out.trim() };
  expect((await key(["ls"], { env })).out).toBe("v  seals and opens\n");
  expect((await key(["use", "v"], { env })).err).toContain("DROVER_SECRETS_KEY");
  const none = await key(["ls", "--file", join(dir, "absent")]);
  expect([none.exitCode, none.err]).toEqual([2, expect.stringContaining("drover key new --file")]);
});

test("a file that others may read is not touched, one behind a link stays behind it", async () => {
  await key(["new", "--file", file, "--id", "a"]);
  const link = join(dir, "link");
  await symlink(file, link);
  await key(["new", "--file", link, "--id", "b"]);
  expect(await idsOf()).toEqual(["b", "a"]);
  const before = await readFile(file, "utf8");
  await chmod(file, 0o644);
  expect((await key(["new", "--file", file])).err).toContain("chmod 0600");
  expect(await readFile(file, "utf8")).toBe(before);
});

test("no key stands in an error, however wrong the input is", async () => {
  await key(["new", "--file", file, "--id", "a"]);
  const bytes = "S3cretS3cretS3cret";
  for (const stdin of [bytes, `b:${bytes}`, `${bytes}:b`, `a:${Buffer.alloc(32, 9).toString("base64")}`]) {
    const { exitCode, err, out } = await key(["add", "--file", file], { stdin });
    expect(exitCode).toBe(2);
    expect(err + out).not.toContain(bytes);
    expect(err + out).not.toContain(Buffer.alloc(32, 9).toString("base64").slice(0, 20));
  }
  await writeFile(file, bytes, { mode: 0o600 });
  expect((await key(["ls", "--file", file])).err).not.toContain(bytes);
});
