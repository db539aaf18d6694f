import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BoundedFile, boundForeignLog, readTail } from "../../../src/qemu/bounded-file.ts";
import { type RingChunk, RingReader, type RingSpec } from "../../../src/qemu/ring-reader.ts";
import { textTail } from "../../../src/qemu/text-tail.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const BOUND = { maxBytes: 1000, keepBytes: 200 };
let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "dq-bound-"));
  path = join(directory, "console.log");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test("a bounded file never grows beyond its bound and keeps its end", async () => {
  const file = new BoundedFile(path, BOUND);
  let written = "";
  for (let line = 0; line < 300; line += 1) {
    const text = `line ${line}\n`;
    written += text;
    await file.append(Buffer.from(text));
    expect((await stat(path)).size).toBeLessThanOrEqual(BOUND.maxBytes);
  }
  expect(written.endsWith(await readFile(path, "utf8"))).toBe(true);
  expect((await readFile(path)).length).toBeGreaterThanOrEqual(BOUND.keepBytes);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test("one piece larger than the bound leaves its end", async () => {
  const file = new BoundedFile(path, BOUND);
  await file.append(Buffer.from("old"));
  await file.append(Buffer.alloc(5000, "x"));
  expect(await readFile(path, "utf8")).toBe("x".repeat(200));
  expect(await readdir(directory)).toEqual(["console.log"]);
});

test("a file that was there before counts", async () => {
  await writeFile(path, "o".repeat(990));
  await new BoundedFile(path, BOUND).append(Buffer.alloc(50, "n"));
  expect(await readFile(path, "utf8")).toBe("o".repeat(150) + "n".repeat(50));
});

test("a log that another process writes is cut to its end, and only when it has grown too large", async () => {
  await writeFile(path, "a".repeat(900));
  expect(await boundForeignLog(path, BOUND)).toBe(false);
  await appendFile(path, "b".repeat(300));
  expect(await boundForeignLog(path, BOUND)).toBe(true);
  expect(await readFile(path, "utf8")).toBe("b".repeat(200));
  expect(await boundForeignLog(join(directory, "absent"), BOUND)).toBe(false);
  expect(await readTail(join(directory, "absent"), 10)).toHaveLength(0);
});

test("a tail has whole lines and whole characters", () => {
  expect(textTail(Buffer.from("1\r\n2\r\n3\r\n"), { maxLines: 2, maxBytes: 100 })).toBe("2\n3\n");
  expect(textTail(Buffer.from("1\n2\n3"), { maxLines: 2, maxBytes: 100 })).toBe("2\n3");
  expect(textTail(Buffer.from("aü€"), { maxLines: 9, maxBytes: 4 })).toBe("€");
  expect(textTail(Buffer.from("€€"), { maxLines: 9, maxBytes: 5 })).toBe("€");
  expect(textTail(Buffer.alloc(0), { maxLines: 9, maxBytes: 5 })).toBe("");
  expect(textTail(Buffer.from([0xff, 0x41]), { maxLines: 9, maxBytes: 9 })).toBe("\ufffdA");
});

const SPEC: RingSpec = {
  device: "console",
  capacityBytes: 256 * 1024,
  bound: { maxBytes: 4096, keepBytes: 1024 },
  gapNote: "[gap]",
};

/** A ring as QEMU has it: bounded, overwriting its oldest bytes. */
class Ring {
  content = Buffer.alloc(0);

  write(bytes: Buffer): void {
    this.content = Buffer.concat([this.content, bytes]).subarray(-SPEC.capacityBytes);
  }

  read = async (_device: string, sizeBytes: number): Promise<Buffer> => {
    const part = this.content.subarray(0, sizeBytes);
    this.content = this.content.subarray(part.length);
    return part;
  };
}

test("what the guest writes reaches callback, file and memory in order", async () => {
  const ring = new Ring();
  const chunks: RingChunk[] = [];
  const reader = new RingReader({ spec: SPEC, path, read: ring.read, onChunk: (chunk) => chunks.push(chunk) });
  ring.write(Buffer.from("first "));
  reader.start();
  await waitFor(() => chunks.length === 1);
  ring.write(Buffer.from("second"));
  await reader.drain(1000);
  await reader.stop();
  expect(Buffer.concat(chunks.map(({ bytes }) => bytes)).toString()).toBe("first second");
  expect(chunks.some(({ skipped }) => skipped)).toBe(false);
  expect(reader.tail.toString()).toBe("first second");
  expect(await readFile(path, "utf8")).toBe("first second");
});

test("a reader goes on where its predecessor stopped", async () => {
  await writeFile(path, "before ");
  const ring = new Ring();
  ring.write(Buffer.from("after"));
  const reader = new RingReader({ spec: SPEC, path, read: ring.read });
  reader.start();
  await reader.drain(1000);
  await reader.stop();
  expect(reader.tail.toString()).toBe("before after");
  expect(await readFile(path, "utf8")).toBe("before after");
});

test("a guest that outruns the reader is said to have been skipped, and disk and memory stay bounded", async () => {
  const ring = new Ring();
  const chunks: RingChunk[] = [];
  const reader = new RingReader({ spec: SPEC, path, read: ring.read, onChunk: (chunk) => chunks.push(chunk) });
  ring.write(Buffer.alloc(1024 * 1024, "x"));
  await reader.drain(5000);
  expect(chunks[0]?.skipped).toBe(true);
  expect(chunks.slice(1).every(({ skipped }) => !skipped)).toBe(true);
  expect(chunks.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBe(SPEC.capacityBytes);
  expect((await stat(path)).size).toBeLessThanOrEqual(SPEC.bound.maxBytes);
  expect(reader.tail).toHaveLength(SPEC.bound.keepBytes);
  await reader.stop();
});

test("a guest that never pauses cannot hold the reader: one turn reads no more than the ring holds", async () => {
  let given = 0;
  const reader = new RingReader({
    spec: SPEC,
    path,
    read: async (_device, sizeBytes) => {
      given += sizeBytes;
      return Buffer.alloc(sizeBytes, "y");
    },
  });
  await reader.drain(5000);
  expect(given).toBe(SPEC.capacityBytes);
  await reader.stop();
});

test("a read that fails loses nothing that was read before, and a full disk does not stop the reading", async () => {
  const problems: unknown[] = [];
  let calls = 0;
  const reader = new RingReader({
    spec: SPEC,
    path: join(directory, "absent", "console.log"),
    read: async (_device, sizeBytes) => {
      calls += 1;
      if (calls === 1) return Buffer.alloc(sizeBytes, "z");
      throw new Error("monitor gone");
    },
    onFileError: (error) => problems.push(error),
  });
  await expect(reader.drain(1000)).rejects.toThrow("monitor gone");
  expect(reader.tail).toHaveLength(SPEC.bound.keepBytes);
  expect(problems).toHaveLength(1);
  await reader.stop();
});
