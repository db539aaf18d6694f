#!/usr/bin/env node
// Makes a container image out of this machine's own files: `node scripts/container-base.mjs [--tag drover-base]`. For
// machines that reach no registry, and for the tests. It holds what the Dockerfile would fetch: Node, QEMU with its
// firmware, a shell with its tools, redis-server, and the packages of npm that drover needs at run time.
import { existsSync, realpathSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findCommand, run } from "../guest/build/command.mjs";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const MODULES = "opt/drover/node_modules";
const PROGRAMS = [
  ...["node", "qemu-system-x86_64", "qemu-img", "redis-server", "redis-cli"],
  // What the shell scripts of drover and a person who looks into the container need.
  ...["sh", "cat", "ls", "mkdir", "chown", "chmod", "ln", "rm", "cp", "stat", "id", "env", "sleep"],
  ...["setpriv", "prlimit", "getent", "nice", "sha256sum"],
];
/** Firmware and key maps of QEMU, OVMF, and the names of users. */
const FOLDERS = [
  "usr/share/qemu",
  "usr/share/seabios",
  "usr/share/OVMF",
  "usr/lib/ipxe/qemu",
  "etc/passwd",
  "etc/group",
];
/** QEMU loads its accelerators and devices at run time, glibc the ways to look names up. */
const LOADED = /^(accel|hw|ui-opengl|block-)[^/]*\.so$/;

/** @param {string} tag the image's name */
async function makeContainerBase(tag) {
  const scratch = await mkdtemp(join(tmpdir(), "drover-base-"));
  try {
    const list = join(scratch, "files");
    await writeFile(list, `${(await systemFiles()).join("\n")}\n`);
    const archive = join(scratch, "base.tar");
    // Links are followed: the image needs the files under the names by which programs ask for them.
    await run("tar", ["--create", "--dereference", "--file", archive, "--directory", "/", "--files-from", list]);
    const modules = join(scratch, "modules");
    await writeFile(modules, `${(await runtimeModules()).join("\n")}\n`);
    const into = `--transform=s,^node_modules,${MODULES},`;
    await run("tar", ["--append", "--file", archive, "--directory", ROOT, into, "--files-from", modules]);
    await importArchive(archive, tag);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Paths without the first slash: programs, the libraries that they are linked with, what they load, their data. */
async function systemFiles() {
  const programs = PROGRAMS.map((name) => {
    const path = findCommand(name);
    if (path === undefined) throw new Error(`${name} is not on this machine; run: npm run setup`);
    return path;
  });
  const modules = await qemuModules();
  const linked = (await Promise.all([...programs, ...modules].map(librariesOf))).flat();
  const folders = FOLDERS.filter((folder) => existsSync(`/${folder}`));
  return [
    ...new Set([...programs, "/bin/sh", "/usr/bin/env", ...modules, ...linked].map((path) => path.slice(1))),
    ...folders,
  ];
}

async function qemuModules() {
  const folder = "/usr/lib/x86_64-linux-gnu/qemu";
  if (!existsSync(folder)) return [];
  return (await readdir(folder)).filter((name) => LOADED.test(name)).map((name) => join(folder, name));
}

/** @param {string} file */
async function librariesOf(file) {
  const listed = await run("ldd", [realpathSync(file)]).catch(() => ""); // a script has none
  return [...String(listed).matchAll(/(?:=> )?(\/[^\s]+) \(0x/g)].map(([, path = ""]) => path);
}

/** The folders of the packages that are not for development only, by the lock file. */
async function runtimeModules() {
  const lock = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8"));
  return Object.entries(lock.packages)
    .filter(([path, { dev, devOptional }]) => path !== "" && dev !== true && devOptional !== true)
    .map(([path]) => path)
    .filter((path) => path.lastIndexOf("node_modules") === 0 && existsSync(join(ROOT, path))); // those inside come along
}

/**
 * @param {string} archive
 * @param {string} tag
 * @param {Record<string, string>} env
 */
async function importArchive(archive, tag) {
  const path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  await run("docker", ["import", "--change", path, archive, tag]);
}

const { values } = parseArgs({ options: { tag: { type: "string", default: "drover-base" } } });
try {
  await makeContainerBase(values.tag);
  console.log(`image ${values.tag}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
