import { chmod, mkdtemp, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openKeyRing } from "../../../src/runtime/key-ring.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const key = (id: string, fill: number) => `${id}:${Buffer.alloc(32, fill).toString("base64")}`;
let dir: string;
let keyFile: string;
let lines: string[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "drover-ring-"));
  keyFile = join(dir, "key");
  lines = [];
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const write = (text: string) => writeFile(keyFile, text, { mode: 0o600 });

async function open(over: { keys?: string; pollMs?: number } = {}) {
  const logger = pino({ level: "info" }, { write: (line) => lines.push(line) });
  const ring = await openKeyRing({ secrets: { keys: over.keys ?? "", keyFile }, logger, pollMs: over.pollMs ?? 10 });
  return Object.assign(ring, { [Symbol.asyncDispose]: () => ring.stop() });
}

test("a key file that changes is in force soon, and the log names ids only", async () => {
  await write(key("old", 1));
  await using ring = await open();
  expect(ring.current?.sealingId).toBe("old");
  await write(`${key("new", 2)}\n${key("old", 1)}\n`);
  await waitFor(() => ring.current?.sealingId === "new", { what: "the new key" });
  expect([...(ring.current?.byId.keys() ?? [])]).toEqual(["new", "old"]);
  expect(lines.join("")).toContain('"keyIds":["new","old"]');
  expect(lines.join("")).not.toContain(key("new", 2).slice(4));
});

test("another file of the same size and time in its place is seen as well", async () => {
  await write(key("a1", 1));
  await using ring = await open();
  const [other, then] = [join(dir, "other"), new Date(1_000)];
  await writeFile(other, key("a2", 2), { mode: 0o600 });
  for (const path of [keyFile, other]) await utimes(path, then, then);
  await rename(other, keyFile);
  await waitFor(() => ring.current?.sealingId === "a2", { what: "the other file's key" });
});

test.each([
  ["that holds no key", () => write("rubbish")],
  ["that others may read", () => chmod(keyFile, 0o644)],
  ["that is gone", () => rm(keyFile)],
])("a file %s leaves the keys of before in force, and is told once", async (_what, spoil) => {
  await write(key("good", 1));
  await using ring = await open({ pollMs: 60_000 });
  await spoil();
  for (let i = 0; i < 3; i++) await ring.refresh();
  expect(ring.current?.sealingId).toBe("good");
  expect(lines.filter((line) => line.includes('"level":50'))).toHaveLength(1);
  await write(key("mended", 3));
  await chmod(keyFile, 0o600);
  await ring.refresh();
  expect(ring.current?.sealingId).toBe("mended");
});

test("a key file that comes after the start is taken, so that `drover key new` needs no restart", async () => {
  await using ring = await open({ pollMs: 60_000 });
  expect(ring.current).toBeUndefined();
  await write(key("first", 1));
  await ring.refresh();
  expect(ring.current?.sealingId).toBe("first");
});

test("keys of the variable stay: the file beside it is not looked at", async () => {
  await write(key("file", 1));
  await using ring = await open({ keys: key("variable", 2) });
  await write(key("other", 3));
  await ring.refresh();
  expect(ring.current?.sealingId).toBe("variable");
});

test("keys that cannot be used at the start are refused", async () => {
  await write("rubbish");
  await expect(open()).rejects.toMatchObject({ code: "config_invalid" });
});
