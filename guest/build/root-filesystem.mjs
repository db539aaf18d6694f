import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { cpio } from "./cpio.mjs";

/** The busybox commands that the guest's scripts call by name. */
const APPLETS =
  "cat dd head ifconfig mkdir modprobe mount nc poweroff reboot route sh sleep stat timeout uname yes".split(" ");
const FOLDERS = [
  "bin",
  "dev",
  "etc",
  "etc/certs",
  "etc/cocos",
  "lib",
  "lib/drover",
  "lib/modules",
  "proc",
  "run",
  "sys",
];

/**
 * The guest's initrd as one uncompressed archive: busybox, the modules, and what stands in `guest/rootfs`.
 * @param {object} parts
 * @param {string} parts.busybox the static program
 * @param {string} parts.scripts the folder `guest/rootfs`
 * @param {string} parts.release the kernel's
 * @param {{ files: { name: string, bytes: Buffer }[], dependencies: string, aliases: string }} parts.modules
 */
export async function rootFilesystem({ busybox, scripts, release, modules }) {
  const moduleFolder = `lib/modules/${release}`;
  const paths = (await readdir(scripts, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(scripts.length + 1))
    .sort();
  return cpio([
    ...[...FOLDERS, moduleFolder].map((path) => ({ path, kind: /** @type {const} */ ("directory") })),
    // The kernel opens it for init before init could mount anything on /dev.
    { path: "dev/console", kind: "console" },
    { path: "bin/busybox", kind: "file", executable: true, bytes: await readFile(busybox) },
    ...APPLETS.map((name) => file(`bin/${name}`, Buffer.from("busybox"), "link")),
    ...(await Promise.all(paths.map(async (path) => file(path, await readFile(join(scripts, path)))))),
    ...modules.files.map(({ name, bytes }) => file(`${moduleFolder}/${name}`, bytes)),
    file(`${moduleFolder}/modules.dep`, Buffer.from(modules.dependencies)),
    file(`${moduleFolder}/modules.alias`, Buffer.from(modules.aliases)),
  ]);
}

/**
 * @param {string} path
 * @param {Buffer} bytes
 * @param {"file" | "link"} kind
 */
function file(path, bytes, kind = "file") {
  return { path, bytes, kind, executable: bytes.subarray(0, 2).toString() === "#!" };
}
