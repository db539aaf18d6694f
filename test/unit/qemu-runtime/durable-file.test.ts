import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { DamagedFile, readDurable, writeDurably } from "../../../src/qemu/durable-file.ts";

const Shape = z.strictObject({ epoch: z.int() });
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "dq-durable-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test("a file is replaced whole, for its owner only, and leaves nothing beside it", async () => {
  const path = join(directory, "record.json");
  await writeDurably(path, JSON.stringify({ epoch: 1 }));
  await writeDurably(path, JSON.stringify({ epoch: 2 }));
  expect(await readDurable(path, Shape)).toEqual({ epoch: 2 });
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(directory)).toEqual(["record.json"]);
});

test("writers at the same moment leave one of their texts, not a mixture", async () => {
  const path = join(directory, "record.json");
  await Promise.all(Array.from({ length: 20 }, (_, epoch) => writeDurably(path, JSON.stringify({ epoch }))));
  expect(await readDurable(path, Shape)).toHaveProperty("epoch");
  expect(await readdir(directory)).toEqual(["record.json"]);
});

test("a write that fails leaves the old file and no remains", async () => {
  const path = join(directory, "record.json");
  await writeFile(join(directory, "file"), "");
  await expect(writeDurably(join(directory, "file", "record.json"), "{}")).rejects.toThrow(/ENOTDIR/);
  await expect(writeDurably(join(directory, "absent", "record.json"), "{}")).rejects.toThrow(/ENOENT/);
  await mkdir(join(directory, "in-the-way", "full"), { recursive: true });
  await expect(writeDurably(join(directory, "in-the-way"), "{}")).rejects.toThrow(/EISDIR|ENOTEMPTY/);
  expect(await readdir(directory)).toEqual(["file", "in-the-way"]);
  expect(await readDurable(path, Shape)).toBeUndefined();
});

test.each(["", "{", '{"epoch":"1"}', '{"epoch":1,"more":1}'])(
  "a file that is not understood is damaged: %j",
  async (text) => {
    const path = join(directory, "record.json");
    await writeFile(path, text);
    await expect(readDurable(path, Shape)).rejects.toThrow(DamagedFile);
    expect(await readFile(path, "utf8")).toBe(text);
  },
);
