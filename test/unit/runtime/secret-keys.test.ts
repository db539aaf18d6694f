import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DroverError } from "../../../src/contract/errors.ts";
import { ensureSecretKeyFile, loadSecretKeys, parseSecretKeys } from "../../../src/runtime/secret-keys.ts";

const GOOD = Buffer.alloc(32, 5).toString("base64");
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "drover-keys-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

function refusal(action: () => unknown): DroverError {
  try {
    action();
  } catch (error) {
    if (error instanceof DroverError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

test("the first key seals, all are known, blanks and line ends do not matter", () => {
  const keys = parseSecretKeys(` new:${GOOD} , old:${Buffer.alloc(32, 6).toString("base64url")}\n`, "test");
  expect(keys.sealingId).toBe("new");
  expect([...keys.byId.keys()]).toEqual(["new", "old"]);
});

test("all that is wrong is said at once, and nothing of a key", () => {
  const short = Buffer.alloc(16, 7).toString("base64");
  const error = refusal(() =>
    parseSecretKeys(`${GOOD},a:${short},b:not base64!,c d:${GOOD},e:${GOOD},e:${GOOD}`, "DROVER_SECRETS_KEY"),
  );
  expect(error.code).toBe("config_invalid");
  expect(error.problems.map(({ message }) => message)).toEqual([
    "key 1 has no id before a colon",
    "key 2 has 16 bytes, not 32",
    "key 3 is not base64",
    "key 4 has an id that is not 1 to 32 letters, digits, dashes or underscores",
    "key 6 uses an id a second time",
  ]);
  expect(error.message).not.toContain(GOOD.slice(0, 20));
  expect(error.message).not.toContain(short);
});

test.each(["", " , "])("%j holds no key", (text) => {
  expect(refusal(() => parseSecretKeys(text, "x")).message).toContain("holds no key");
});

test("printing the keys shows none of their bytes", () => {
  const keys = parseSecretKeys(`k:${GOOD}`, "x");
  expect(inspect(keys, { depth: 9, showHidden: true })).not.toContain("05 05");
  expect(JSON.stringify([...keys.byId])).not.toContain(GOOD.slice(0, 8));
});

test("the variable wins over the file, and without both there is no key", async () => {
  const file = join(dir, "key");
  await writeFile(file, `file:${GOOD}`, { mode: 0o600 });
  expect((await loadSecretKeys({ keys: `env:${GOOD}`, keyFile: file }))?.sealingId).toBe("env");
  expect((await loadSecretKeys({ keys: "", keyFile: file }))?.sealingId).toBe("file");
  expect(await loadSecretKeys({ keys: "", keyFile: join(dir, "absent") })).toBeUndefined();
  expect(await loadSecretKeys({ keys: "", keyFile: "" })).toBeUndefined();
});

test("a key file that others may read is refused, with the command that mends it", async () => {
  const file = join(dir, "key");
  await writeFile(file, `file:${GOOD}`);
  await chmod(file, 0o640);
  await expect(loadSecretKeys({ keys: "", keyFile: file })).rejects.toThrow(`chmod 0600 ${file}`);
});

test("a key file is made once with mode 0600, and never overwritten", async () => {
  const file = join(dir, "key");
  await ensureSecretKeyFile(file);
  const first = await readFile(file, "utf8");
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  await ensureSecretKeyFile(file);
  expect(await readFile(file, "utf8")).toBe(first);
  expect(await loadSecretKeys({ keys: "", keyFile: file })).toBeDefined();
});
