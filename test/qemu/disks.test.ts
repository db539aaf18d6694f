import { chmod, mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type DiskRequest, prepareDisk } from "../../src/qemu/disk-image.ts";
import { DiskSources } from "../../src/qemu/disk-source.ts";

const GIB = 1024 ** 3;
let directory: string;
let source: string;
let disk: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "dq-disk-"));
  source = join(directory, "source image.qcow2");
  disk = join(directory, "disk.qcow2");
  await execa("qemu-img", ["create", "-q", "-f", "qcow2", source, "1500M"]);
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const prepare = (more: Partial<DiskRequest> = {}) =>
  prepareDisk({ sourceFile: source, destinationFile: disk, format: "qcow2", mode: "overlay", ...more });

async function info(path: string): Promise<Record<string, unknown>> {
  const { stdout } = await execa("qemu-img", ["info", "--output=json", path]);
  return JSON.parse(stdout);
}

test("by default the disk is an overlay of the source, as large as Cocos's and for its owner only", async () => {
  const before = await readFile(source);
  expect(await prepare()).toEqual({ kind: "overlay", sizeGib: 3 });
  expect(await info(disk)).toMatchObject({
    "virtual-size": 3 * GIB,
    format: "qcow2",
    "backing-filename": source,
    "backing-filename-format": "qcow2",
  });
  expect((await stat(disk)).mode & 0o777).toBe(0o600);
  expect((await readFile(source)).equals(before)).toBe(true);
});

test.each<[string, Partial<DiskRequest>]>([
  ["asked for", { mode: "copy" }],
  ["raw is wanted", { format: "raw" }],
])("a copy when %s", async (_why, more) => {
  expect(await prepare(more)).toEqual({ kind: "copy", sizeGib: 3 });
  const made = await info(disk);
  expect(made).toMatchObject({ "virtual-size": 3 * GIB, format: more.format ?? "qcow2" });
  expect(made["backing-filename"]).toBeUndefined();
  expect((await stat(disk)).mode & 0o777).toBe(0o600);
});

test("a raw source is copied, and what it says of itself is not believed", async () => {
  await writeFile(source, JSON.stringify({ file: { driver: "nbd" } }));
  await truncate(source, 10 * 1024 * 1024);
  expect(await prepare()).toEqual({ kind: "copy", sizeGib: 2 });
});

test("the source is looked at once, and again when it has changed", async () => {
  const calls = join(directory, "calls");
  const spy = join(directory, "qemu-img-spy");
  await writeFile(spy, `#!/bin/sh\necho "$1" >> "${calls}"\nexec qemu-img "$@"\n`);
  await chmod(spy, 0o700);
  const sources = new DiskSources();
  const again = async () => {
    await rm(disk, { force: true });
    await rm(calls, { force: true });
    await prepare({ sources, qemuImgPath: spy });
    return (await readFile(calls, "utf8")).trim().split("\n");
  };
  expect(await again()).toEqual(["info", "create"]);
  expect(await again()).toEqual(["create"]);
  await utimes(source, new Date(), new Date(1_000_000_000_000));
  expect(await again()).toEqual(["info", "create"]);
});

test("every failure has its cause, and no half-made disk is left", async () => {
  const failure = (code: string) => ({ failure: { code } });
  await expect(prepare({ sourceFile: join(directory, "absent") })).rejects.toMatchObject(
    failure("disk_source_missing"),
  );
  await expect(prepare({ sourceFile: directory })).rejects.toMatchObject(failure("disk_source_missing"));
  await expect(prepare({ qemuImgPath: join(directory, "no-qemu-img") })).rejects.toMatchObject(failure("qemu_missing"));
  const damaged = join(directory, "damaged.qcow2");
  await writeFile(damaged, Buffer.concat([Buffer.from([0x51, 0x46, 0x49, 0xfb]), Buffer.alloc(600, 0xff)]));
  await expect(prepare({ sourceFile: damaged })).rejects.toMatchObject(failure("image_invalid"));
  await expect(prepare({ format: "nonsense" })).rejects.toMatchObject(failure("image_invalid"));
  await expect(prepare({ destinationFile: join(directory, "absent", "disk") })).rejects.toMatchObject(
    failure("state_dir_unusable"),
  );
  expect(await readdir(directory)).toEqual(["damaged.qcow2", "source image.qcow2"]);
});

test("a full file system is disk_full", async () => {
  const script = join(directory, "qemu-img-full");
  await writeFile(
    script,
    '#!/bin/sh\n[ "$1" = info ] && exec qemu-img "$@"\necho "qemu-img: $9: error while writing: No space left on device" >&2\nexit 1\n',
  );
  await chmod(script, 0o700);
  await expect(prepare({ qemuImgPath: script, mode: "copy" })).rejects.toMatchObject({
    failure: { code: "disk_full" },
  });
});

test("names that qemu-img would take for something else than a file are files", async () => {
  const odd = join(directory, 'json:{"driver":"null-co"},x.qcow2');
  await execa("cp", [source, odd]);
  expect(await prepare({ sourceFile: odd })).toEqual({ kind: "overlay", sizeGib: 3 });
  expect(await info(disk)).toMatchObject({ "backing-filename": odd });
});

test("a copy that nobody wants any more is given up, and so is one that takes too long", async () => {
  const slow = join(directory, "qemu-img-slow");
  await writeFile(slow, '#!/bin/sh\n[ "$1" = info ] && exec qemu-img "$@"\nexec sleep 60\n');
  await chmod(slow, 0o700);
  const stop = new AbortController();
  const reason = new Error("removed");
  const copying = prepare({ qemuImgPath: slow, mode: "copy", signal: stop.signal });
  setTimeout(() => stop.abort(reason), 50);
  await expect(copying).rejects.toBe(reason);
  const tooLong = prepare({ qemuImgPath: slow, mode: "copy", copyTimeoutMs: 200 });
  await expect(tooLong).rejects.toMatchObject({ failure: { code: "internal" } });
});
