import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { run } from "./command.mjs";
import { inPackage } from "./packages.mjs";

/** What the guest's init asks modprobe for; everything these depend on comes along. */
const WANTED = [
  "virtio_pci",
  "virtio_net",
  "virtio_console", // the result port
  "9pnet_virtio",
  "9p",
  "virtio_scsi",
  "sd_mod",
  "button",
  "evdev",
  "pvpanic-mmio", // also drives the ISA device of a PC: it is found through ACPI
];

/**
 * The wanted modules with their dependencies, and the two tables from which modprobe reads order and hardware ids
 * (depmod would write them, but it runs only when a kernel is installed).
 * @param {string} root unpacked kernel package
 * @param {string} release
 * @param {(command: string, packageName: string) => Promise<string>} tool
 */
export async function moduleTree(root, release, tool) {
  const available = await findModules(root, release);
  const builtin = await builtinModules(root, release);
  /** @type {Map<string, { bytes: Buffer, needs: string[], aliases: string[] }>} */
  const chosen = new Map();

  /** @param {string} name */
  const choose = async (name) => {
    const key = canonical(name);
    if (chosen.has(key) || builtin.has(key)) return;
    const path = available.get(key);
    if (path === undefined) throw new Error(`the kernel package has no module ${name}`);
    const bytes = path.endsWith(".xz") ? await run(await tool("xz", "xz-utils"), ["-dc", path]) : await readFile(path);
    const info = moduleInfo(bytes);
    const needs = info("depends").flatMap((list) => list.split(",").filter(Boolean));
    chosen.set(key, {
      bytes,
      needs: needs.map(canonical).filter((need) => !builtin.has(need)),
      aliases: info("alias"),
    });
    for (const need of needs) await choose(need);
  };
  for (const name of WANTED) await choose(name);

  const names = [...chosen.keys()].sort();
  return {
    files: names.map((name) => ({ name: `${name}.ko`, bytes: chosen.get(name)?.bytes ?? Buffer.alloc(0) })),
    dependencies: names
      .map(
        (name) =>
          `${name}.ko: ${closure(name)
            .map((need) => `${need}.ko`)
            .join(" ")}\n`,
      )
      .join(""),
    aliases: names
      .flatMap((name) => chosen.get(name)?.aliases.map((alias) => `alias ${alias} ${name}\n`) ?? [])
      .join(""),
  };

  /**
   * modprobe loads a line of modules.dep from its end to its beginning, so the deepest dependency stands last.
   * @param {string} name
   * @returns {string[]}
   */
  function closure(name) {
    const direct = chosen.get(name)?.needs ?? [];
    const all = [...direct, ...direct.flatMap(closure)];
    return all.filter((need, index) => all.lastIndexOf(need) === index);
  }
}

/** `9p-virtio` and `9p_virtio` are one module to the kernel. @param {string} name */
const canonical = (name) => name.replaceAll("-", "_");

/**
 * @param {string} root
 * @param {string} release
 */
async function findModules(root, release) {
  const folder = inPackage(root, `lib/modules/${release}`);
  const paths = (await readdir(folder, { recursive: true })).filter((path) => /\.ko(\.xz)?$/.test(path));
  return new Map(paths.map((path) => [canonical(basename(path).replace(/\.ko(\.xz)?$/, "")), join(folder, path)]));
}

/**
 * @param {string} root
 * @param {string} release
 */
async function builtinModules(root, release) {
  const list = await readFile(join(inPackage(root, `lib/modules/${release}`), "modules.builtin"), "utf8");
  return new Set(list.split("\n").map((path) => canonical(basename(path, ".ko"))));
}

/**
 * Reads the `key=value` strings of a module, which stand in the ELF section .modinfo.
 * @param {Buffer} elf
 * @returns {(key: string) => string[]}
 */
function moduleInfo(elf) {
  const table = Number(elf.readBigUInt64LE(0x28));
  const size = elf.readUInt16LE(0x3a);
  const sections = Array.from({ length: elf.readUInt16LE(0x3c) }, (_, index) => {
    const at = table + index * size;
    const start = Number(elf.readBigUInt64LE(at + 0x18));
    return { name: elf.readUInt32LE(at), bytes: elf.subarray(start, start + Number(elf.readBigUInt64LE(at + 0x20))) };
  });
  const names = sections[elf.readUInt16LE(0x3e)]?.bytes.toString("latin1") ?? "";
  const info = sections.find(({ name }) => names.startsWith(".modinfo\0", name));
  const strings = info?.bytes.toString("latin1").split("\0") ?? [];
  return (key) => strings.filter((text) => text.startsWith(`${key}=`)).map((text) => text.slice(key.length + 1));
}
