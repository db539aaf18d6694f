import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** The demo guest that the project's own script builds; `npm test` has built it before any test runs. */
export function demoGuest(): { vmlinux: string; bzImage: string; rootfs: string; rootfsGz: string; disk: string } {
  const dir = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "drover", "guest");
  const guest = {
    vmlinux: join(dir, "vmlinux"),
    bzImage: join(dir, "bzImage"),
    rootfs: join(dir, "rootfs.cpio"),
    rootfsGz: join(dir, "rootfs.cpio.gz"),
    disk: join(dir, "disk.qcow2"),
  };
  if (!existsSync(guest.vmlinux)) throw new Error(`the demo guest is missing in ${dir}: run npm run setup`);
  return guest;
}

/** Boots in about two seconds under TCG: no clock calibration, no self-tests, no mitigations. */
export const QUICK_CMDLINE =
  "quiet console=ttyS0 tsc=reliable no_timer_check random.trust_cpu=on mitigations=off cryptomgr.notests pti=off nokaslr";

/** Variables of a small guest under TCG that boots quickly: SeaBIOS and the extracted kernel. */
export function quickGuestEnv(): Record<string, string> {
  const guest = demoGuest();
  return {
    MANAGER_QEMU_ENABLE_KVM: "false",
    MANAGER_QEMU_CPU: "max",
    MANAGER_QEMU_MEMORY_SIZE: "256M",
    MANAGER_QEMU_MAX_MEMORY: "512M",
    MANAGER_QEMU_MEMORY_SLOTS: "1",
    MANAGER_QEMU_SMP_COUNT: "1",
    MANAGER_QEMU_SMP_MAXCPUS: "1",
    DROVER_FIRMWARE: "seabios",
    MANAGER_QEMU_DISK_IMG_KERNEL_FILE: guest.vmlinux,
    MANAGER_QEMU_DISK_IMG_ROOTFS_FILE: guest.rootfs,
    MANAGER_QEMU_KERNEL_CMDLINE: QUICK_CMDLINE,
  };
}
