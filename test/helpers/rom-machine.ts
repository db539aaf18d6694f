import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RomGuest, writeRom } from "../qemu/support/rom-guest.ts";

/** Files of a host whose VMs run a few bytes of machine code in place of firmware, kernel and system. */
export interface RomMachine {
  readonly dir: string;
  readonly env: Record<string, string>;
  /** What VMs that are launched from now on run. Those that run already have read theirs. */
  choose(guest: RomGuest): Promise<void>;
  dispose(): void;
}

/**
 * Real QEMU, real QMP, real ports and files, and a guest that is up after 50 ms instead of two seconds: for everything
 * that needs a VM and no operating system in it. QEMU takes the guest as firmware (`-machine q35,firmware=FILE`);
 * kernel and RAM disk are stubs that it loads and nobody starts.
 */
export async function makeRomMachine(guest: RomGuest): Promise<RomMachine> {
  const dir = mkdtempSync(join(tmpdir(), "drv-rom-"));
  const rom = join(dir, "guest.rom");
  const kernel = join(dir, "kernel");
  const initrd = join(dir, "initrd");
  writeStubKernel(kernel);
  writeFileSync(initrd, Buffer.alloc(512));
  const choose = async (wanted: RomGuest) => {
    const next = `${rom}.next`;
    await writeRom(next, wanted);
    renameSync(next, rom); // a QEMU that starts in this moment reads the one or the other
  };
  await choose(guest);
  return {
    dir,
    choose,
    env: {
      MANAGER_QEMU_MACHINE: `q35,firmware=${rom}`,
      MANAGER_QEMU_DISK_IMG_KERNEL_FILE: kernel,
      MANAGER_QEMU_DISK_IMG_ROOTFS_FILE: initrd,
      MANAGER_QEMU_MEMORY_SIZE: "32M",
      DROVER_FIRMWARE: "seabios", // leaves the OVMF drives out
    },
    dispose: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** The least that QEMU takes for a bzImage with a RAM disk: signature, protocol 2.12, LOADED_HIGH, initrd_addr_max. */
export function writeStubKernel(path: string): void {
  const kernel = Buffer.alloc(8 * 1024);
  kernel.write("HdrS", 0x202, "latin1");
  kernel.writeUInt16LE(0x020c, 0x206);
  kernel.writeUInt8(1, 0x211);
  kernel.writeUInt32LE(0x7fffffff, 0x22c);
  writeFileSync(path, kernel);
}
