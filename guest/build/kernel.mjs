import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./command.mjs";

/** Offsets in the setup header of a bzImage (Linux Documentation/arch/x86/boot.rst). */
const SETUP_SECTORS = 0x1f1;
const MAGIC = 0x202;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;

/** What Debian has compressed its kernels with: first bytes, command, package. */
const COMPRESSIONS = [
  { magic: Buffer.from("fd377a585a00", "hex"), command: "xz", packageName: "xz-utils" },
  { magic: Buffer.from("28b52ffd", "hex"), command: "zstd", packageName: "zstd" },
];

/**
 * The bzImage in an unpacked kernel package.
 * @param {string} root
 */
export async function kernelImage(root) {
  const name = (await readdir(join(root, "boot"))).find((file) => file.startsWith("vmlinuz-"));
  if (name === undefined) throw new Error(`no kernel in ${join(root, "boot")}`);
  return { path: join(root, "boot", name), release: name.slice("vmlinuz-".length) };
}

/**
 * The ELF kernel inside a bzImage. QEMU starts it directly through its PVH note, which spares the guest unpacking
 * itself: more than three seconds under TCG.
 * @param {string} bzImage
 * @param {string} scratch a file to unpack through
 * @param {(command: string, packageName: string) => Promise<string>} tool
 */
export async function extractVmlinux(bzImage, scratch, tool) {
  const image = await readFile(bzImage);
  if (image.toString("latin1", MAGIC, MAGIC + 4) !== "HdrS") throw new Error(`${bzImage} is not a Linux bzImage`);
  const start = ((image[SETUP_SECTORS] || 4) + 1) * 512 + image.readUInt32LE(PAYLOAD_OFFSET);
  // The last four bytes of the payload are the unpacked size, appended for the kernel's own use.
  const payload = image.subarray(start, start + image.readUInt32LE(PAYLOAD_LENGTH) - 4);
  const compression = COMPRESSIONS.find(({ magic }) => payload.subarray(0, magic.length).equals(magic));
  if (compression === undefined) {
    throw new Error(`${bzImage} is compressed in a way this build does not know (${payload.toString("hex", 0, 6)})`);
  }
  await writeFile(scratch, payload);
  const elf = await run(await tool(compression.command, compression.packageName), ["-dcf", scratch]);
  if (elf.toString("latin1", 1, 4) !== "ELF") throw new Error(`${bzImage} does not contain an ELF kernel`);
  return elf;
}
