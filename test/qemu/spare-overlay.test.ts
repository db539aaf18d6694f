import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SpareOverlay } from "../../src/qemu/spare-overlay.ts";

const dir = mkdtempSync(join(tmpdir(), "drover-spare-"));
const source = join(dir, "source.qcow2");
const request = (name: string) =>
  ({ sourceFile: source, destinationFile: join(dir, name), format: "qcow2", mode: "overlay" }) as const;
const sizeOf = async (name: string) =>
  JSON.parse((await execa("qemu-img", ["info", "--output=json", join(dir, name)])).stdout);

beforeAll(async () => {
  await execa("qemu-img", ["create", "-q", "-f", "qcow2", source, "1G"]);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("the second disk is the spare one, and it is as good as one made at once", async () => {
  const spares = join(dir, "spares");
  const disks = await SpareOverlay.open(spares);
  await disks.take(request("first.qcow2"));
  await expect.poll(() => readdirSync(spares)).toEqual(["overlay-0.qcow2"]);
  await disks.take(request("second.qcow2"));
  const [first, second] = [await sizeOf("first.qcow2"), await sizeOf("second.qcow2")];
  expect(second["virtual-size"]).toBe(2 * 1024 ** 3);
  expect(second).toMatchObject({
    "virtual-size": first["virtual-size"],
    "full-backing-filename": source,
    format: "qcow2",
  });
  await disks.close();
  expect(existsSync(spares)).toBe(false);
});

test("a spare of a source that has grown since is not given to anybody", async () => {
  const spares = join(dir, "spares-2");
  const disks = await SpareOverlay.open(spares);
  await disks.take(request("third.qcow2"));
  await expect.poll(() => readdirSync(spares)).toHaveLength(1);
  await execa("qemu-img", ["resize", "-q", source, "3G"]);
  await disks.take(request("fourth.qcow2"));
  expect((await sizeOf("fourth.qcow2"))["virtual-size"]).toBe(4 * 1024 ** 3);
  await disks.close();
});

test("without a source the launch hears why", async () => {
  const disks = await SpareOverlay.open(join(dir, "spares-3"));
  await expect(disks.take({ ...request("x.qcow2"), sourceFile: join(dir, "none.qcow2") })).rejects.toMatchObject({
    failure: { code: "disk_source_missing" },
  });
  await disks.close();
});
