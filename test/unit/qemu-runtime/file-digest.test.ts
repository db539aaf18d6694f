import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { FileDigests } from "../../../src/qemu/file-digest.ts";
import { givenFiles } from "../../../src/qemu/given-files.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";

const { signal } = new AbortController();
const path = process.env["PATH"];
let dir: string;
let file: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "drover-digest-"));
  file = join(dir, "a kernel\nwith an odd name");
});
afterEach(() => {
  process.env["PATH"] = path;
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

test("a digest is computed once for each content of a file", async () => {
  const digests = new FileDigests();
  writeFileSync(file, "one");
  const modifiedAtMs = 1_790_000_000_000;
  utimesSync(file, modifiedAtMs / 1_000, modifiedAtMs / 1_000);
  const first = await digests.digest(file, signal);
  expect(first).toEqual({ bytes: 3, modifiedAtMs, sha256: sha256("one"), problem: null });
  process.env["PATH"] = "/nope"; // nothing can compute one now
  expect(await digests.digest(file, signal)).toEqual(first);
  writeFileSync(file, "two");
  expect(await digests.digest(file, signal)).toMatchObject({ sha256: null, problem: expect.stringMatching(/ENOENT/) });
  process.env["PATH"] = path;
  expect(await digests.digest(file, signal)).toMatchObject({ sha256: sha256("two"), problem: null });
});

test("what is no file, or not there, has no digest and says why; a stop is the only rejection", async () => {
  const digests = new FileDigests();
  const nothing = { bytes: null, modifiedAtMs: null, sha256: null };
  expect(await digests.digest(join(dir, "nope"), signal)).toEqual({ ...nothing, problem: "ENOENT" });
  expect(await digests.digest(dir, signal)).toEqual({ ...nothing, problem: "it is no regular file" });
  writeFileSync(file, "three");
  await expect(digests.digest(file, AbortSignal.abort(new Error("stopped")))).rejects.toThrow("stopped");
});

test("a launch is given the files of its kind", () => {
  const config = (env: Record<string, string>) => loadConfig({ HOME: "/h", ...env }).config;
  const roles = (env: Record<string, string>, tee: "none" | "snp" | "tdx") =>
    givenFiles(config(env), tee).map(({ role }) => role);
  const disk = { MANAGER_QEMU_ENABLE_DISK: "true", MANAGER_QEMU_SRC_DISK_FILE: "/images/disk.qcow2" };
  expect(roles({}, "none")).toEqual(["kernel", "initrd", "firmware", "firmware-variables"]);
  expect(roles({ DROVER_FIRMWARE: "seabios" }, "none")).toEqual(["kernel", "initrd"]);
  expect(roles({ ...disk, DROVER_FIRMWARE: "seabios" }, "none")).toEqual(["disk-source"]);
  expect(roles({}, "snp")).toEqual(["kernel", "initrd", "igvm"]);
  expect(roles({}, "tdx")).toEqual(["kernel", "initrd", "firmware"]);
  const [kernel] = givenFiles(config({ MANAGER_QEMU_DISK_IMG_KERNEL_FILE: "img/bzImage" }), "none");
  expect(kernel).toEqual({ role: "kernel", path: join(process.cwd(), "img/bzImage") });
});
