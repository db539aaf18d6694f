#!/usr/bin/env node
// Builds the demo guest from Debian's own kernel and busybox: `node guest/build.mjs [--out DIR] [--fresh]`.
// Its only line on stdout is the folder with the image.
import { copyFile, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { buildDisk } from "./build/disk.mjs";
import { extractVmlinux, kernelImage } from "./build/kernel.mjs";
import { inputsDigest, readManifest, writeManifest } from "./build/manifest.mjs";
import { moduleTree } from "./build/modules.mjs";
import { dependencyOf, inPackage, packageStore } from "./build/packages.mjs";
import { replaceFolder } from "./build/replace-folder.mjs";
import { rootFilesystem } from "./build/root-filesystem.mjs";

const SOURCES = dirname(fileURLToPath(import.meta.url));
const DISK_MIB = 64;
const ABANDONED_MS = 30 * 60_000;
/** Each of these takes something out of the boot that costs time under TCG. */
const CMDLINE =
  "quiet console=ttyS0 tsc=reliable no_timer_check random.trust_cpu=on mitigations=off cryptomgr.notests pti=off nokaslr";

const cacheFolder = () => join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "drover");

/** Where the image is built and looked for when nobody names another folder. */
export const defaultGuestFolder = () => join(cacheFolder(), "guest");

/**
 * Makes sure that the demo guest is there and up to date. With nothing to do it takes a few milliseconds.
 * @param {object} [options]
 * @param {string} [options.out] folder for the image
 * @param {boolean} [options.fresh] build even if the image is up to date, with the newest packages that apt knows
 * @param {(text: string) => void} [options.log]
 * @returns {Promise<{ folder: string, built: boolean, manifest: import("./build/manifest.mjs").Manifest }>}
 */
export async function buildGuest({ out = defaultGuestFolder(), fresh = false, log = () => {} } = {}) {
  const folder = resolve(out);
  const inputs = await inputsDigest(SOURCES);
  const present = fresh ? undefined : await readManifest(folder, inputs);
  if (present !== undefined) return { folder, built: false, manifest: present };

  await mkdir(dirname(folder), { recursive: true });
  await removeAbandoned(folder);
  const scratch = await mkdtemp(`${folder}.building-`);
  try {
    const image = join(scratch, "image");
    await mkdir(image);
    const manifest = await buildInto(image, scratch, inputs, log);
    await replaceFolder(folder, image, join(scratch, "previous"));
    return { folder, built: true, manifest };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * @param {string} image
 * @param {string} scratch
 * @param {string} inputs
 * @param {(text: string) => void} log
 */
async function buildInto(image, scratch, inputs, log) {
  const packages = packageStore({ downloads: join(cacheFolder(), "packages"), unpacked: join(scratch, "packages") });
  const linux = await dependencyOf("linux-image-amd64"); // the cloud kernel has no 9p
  log(`fetching Debian's ${linux}, busybox-static and systemd-boot-efi`);
  const kernel = await packages.fetch(linux);
  const busybox = await packages.fetch("busybox-static");
  const bootLoader = await packages.fetch("systemd-boot-efi");

  log("unpacking the kernel");
  const { path: bzImage, release } = await kernelImage(kernel.root);
  await copyFile(bzImage, join(image, "bzImage"));
  await writeFile(join(image, "vmlinux"), await extractVmlinux(bzImage, join(scratch, "payload"), packages.tool));

  log("writing root file system and disk");
  const modules = await moduleTree(kernel.root, release, packages.tool);
  const rootfs = await rootFilesystem({
    busybox: inPackage(busybox.root, "bin/busybox"),
    scripts: join(SOURCES, "rootfs"),
    release,
    modules,
  });
  await writeFile(join(image, "rootfs.cpio"), rootfs);
  await writeFile(join(image, "rootfs.cpio.gz"), gzipSync(rootfs));
  await buildDisk({
    scratch,
    output: join(image, "disk.qcow2"),
    bootLoader: join(bootLoader.root, "usr/lib/systemd/boot/efi/systemd-bootx64.efi"),
    bzImage,
    initrd: join(image, "rootfs.cpio.gz"),
    cmdline: CMDLINE,
    mib: DISK_MIB,
    tool: packages.tool,
  });
  const versions = {
    [linux]: kernel.version,
    "busybox-static": busybox.version,
    "systemd-boot-efi": bootLoader.version,
  };
  return writeManifest(image, { inputs, cmdline: CMDLINE, versions });
}

/**
 * An interrupted build leaves some hundred megabytes. What is still being worked on is younger than this.
 * @param {string} folder
 */
async function removeAbandoned(folder) {
  for (const name of await readdir(dirname(folder))) {
    if (!name.startsWith(`${basename(folder)}.building-`)) continue;
    const path = join(dirname(folder), name);
    const changed = await stat(path).catch(() => undefined);
    if (changed !== undefined && Date.now() - changed.mtimeMs > ABANDONED_MS)
      await rm(path, { recursive: true, force: true });
  }
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    const { values } = parseArgs({ options: { out: { type: "string" }, fresh: { type: "boolean" } } });
    const { folder } = await buildGuest({ ...values, log: (text) => console.error(text) });
    console.log(folder);
  } catch (error) {
    console.error(`the demo guest was not built: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
