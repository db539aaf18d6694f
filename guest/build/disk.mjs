import { copyFile, mkdir, open, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findCommand, run } from "./command.mjs";

const MIB = 1024 * 1024;
const PARTITION_START = MIB;
const SECTOR = 512;
/** Partition type of an EFI system partition in a PC partition table. */
const EFI_SYSTEM_PARTITION = 0xef;

/**
 * A disk that UEFI firmware boots by itself: one EFI partition with systemd-boot, kernel and initrd. The kernel line
 * stands in the image, as in Cocos's own disk image, where the host has no say in it.
 * @param {object} parts
 * @param {string} parts.scratch a folder for intermediate files
 * @param {string} parts.output the qcow2 file to make
 * @param {string} parts.bootLoader systemd-boot's EFI program
 * @param {string} parts.bzImage
 * @param {string} parts.initrd
 * @param {string} parts.cmdline
 * @param {number} parts.mib size of the disk
 * @param {(command: string, packageName: string) => Promise<string>} parts.tool
 */
export async function buildDisk({ scratch, output, bootLoader, bzImage, initrd, cmdline, mib, tool }) {
  const qemuImg = findCommand("qemu-img");
  if (qemuImg === undefined) {
    throw new Error("qemu-img is missing. Run: sudo apt-get install -y --no-install-recommends qemu-utils");
  }
  const tree = join(scratch, "efi-partition");
  await layOut(tree, { bootLoader, bzImage, initrd, cmdline });

  const raw = join(scratch, "disk.raw");
  await writePartitionTable(raw, mib);
  const mtools = await tool("mtools", "mtools");
  const partition = `${raw}@@${PARTITION_START}`;
  const sectors = (mib * MIB - PARTITION_START) / SECTOR;
  // SOURCE_DATE_EPOCH, the fixed serial number and -m keep the image the same from build to build.
  const env = { ...process.env, SOURCE_DATE_EPOCH: "0", MTOOLSRC: "/dev/null", TZ: "UTC" };
  const format = ["-c", "mformat", "-i", partition, "-T", String(sectors), "-h", "16", "-s", "63", "-H", "0"];
  await run(mtools, [...format, "-F", "-N", "64726f76", "-v", "DROVER", "::"], { env });
  const content = ["EFI", "loader", "vmlinuz", "initrd"].map((name) => join(tree, name));
  await run(mtools, ["-c", "mcopy", "-i", partition, "-s", "-m", ...content, "::"], { env });
  await run(qemuImg, ["convert", "-f", "raw", "-O", "qcow2", raw, output]);
}

/**
 * @param {string} tree
 * @param {{ bootLoader: string, bzImage: string, initrd: string, cmdline: string }} parts
 */
async function layOut(tree, { bootLoader, bzImage, initrd, cmdline }) {
  await mkdir(join(tree, "EFI/BOOT"), { recursive: true });
  await mkdir(join(tree, "loader/entries"), { recursive: true });
  const files = {
    program: join(tree, "EFI/BOOT/BOOTX64.EFI"),
    kernel: join(tree, "vmlinuz"),
    initrd: join(tree, "initrd"),
    loader: join(tree, "loader/loader.conf"),
    entry: join(tree, "loader/entries/drover.conf"),
  };
  await copyFile(bootLoader, files.program);
  await copyFile(bzImage, files.kernel);
  await copyFile(initrd, files.initrd);
  await writeFile(files.loader, "timeout 0\ndefault drover.conf\n");
  const entry = ["title drover demo guest", "linux /vmlinuz", "initrd /initrd", `options ${cmdline}`];
  await writeFile(files.entry, `${entry.join("\n")}\n`);
  const folders = ["EFI/BOOT", "EFI", "loader/entries", "loader"].map((name) => join(tree, name));
  // FAT begins in 1980.
  for (const path of [...Object.values(files), ...folders]) await utimes(path, 315_619_200, 315_619_200);
}

/**
 * A PC partition table with one entry. Its CHS fields say "see the LBA fields", as on every disk of today.
 * @param {string} path
 * @param {number} mib
 */
async function writePartitionTable(path, mib) {
  const table = Buffer.alloc(SECTOR);
  const entry = table.subarray(446, 462);
  Buffer.from([0x00, 0xfe, 0xff, 0xff, EFI_SYSTEM_PARTITION, 0xfe, 0xff, 0xff]).copy(entry);
  entry.writeUInt32LE(PARTITION_START / SECTOR, 8);
  entry.writeUInt32LE((mib * MIB - PARTITION_START) / SECTOR, 12);
  table.writeUInt16LE(0xaa55, 510);
  const file = await open(path, "w");
  await file.truncate(mib * MIB);
  await file.write(table, 0, SECTOR, 0);
  await file.close();
}
