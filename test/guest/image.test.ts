import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { guestImage } from "./demo-machine.ts";

test("an image that is up to date is not built again", async () => {
  const image = await guestImage();
  const before = await stat(join(image, "manifest.json"));
  expect(await guestImage()).toBe(image);
  expect((await stat(join(image, "manifest.json"))).ino).toBe(before.ino);
});

test("the manifest names every file of the image and the Debian packages it was made from", async () => {
  const manifest = JSON.parse(await readFile(join(await guestImage(), "manifest.json"), "utf8"));
  expect(Object.keys(manifest.files)).toEqual(["bzImage", "disk.qcow2", "rootfs.cpio", "rootfs.cpio.gz", "vmlinux"]);
  expect(Object.keys(manifest.versions)).toEqual([
    expect.stringMatching(/^linux-image-/),
    "busybox-static",
    "systemd-boot-efi",
  ]);
  expect(manifest.inputs).toMatch(/^[0-9a-f]{64}$/);
});
