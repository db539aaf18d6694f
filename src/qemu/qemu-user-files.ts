import { chmod, lchown, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf } from "../runtime/errno.ts";
import type { SystemUser } from "../runtime/system-user.ts";
import { fileFailure } from "./file-failure.ts";
import { type VmPaths, vmsDirectory } from "./vm-paths.ts";

/** The owner may do everything, the group of QEMU's user may pass through, and see no name. */
const PASSABLE = 0o710;
/** Of the state directory itself, whose owner and group systemd looks after: others pass it, and end before `vms`. */
const STATE_DIR_PASSABLE = 0o711;

/**
 * Gives a launch's files to the user that QEMU runs as: both shares, the disk and the firmware variables. All
 * directories stay the worker's and QEMU may write in none: its sockets and its pid file are made for it
 * (`openMonitorSockets`, `makePidFile`). To be called when the files are made and no QEMU of this launch lives.
 * Throws LaunchFailure (`state_dir_unusable`).
 */
export async function giveToQemuUser(stateDir: string, paths: VmPaths, { uid, gid }: SystemUser): Promise<void> {
  try {
    await chmod(stateDir, STATE_DIR_PASSABLE);
    for (const dir of [vmsDirectory(stateDir), dirname(paths.dir), paths.dir]) {
      await lchown(dir, process.getuid?.() ?? 0, gid);
      await chmod(dir, PASSABLE);
    }
    for (const dir of [paths.certsDir, paths.environmentDir]) {
      for (const name of await readdir(dir)) await lchown(join(dir, name), uid, gid);
      await lchown(dir, uid, gid);
    }
    for (const file of [paths.disk, paths.ovmfVars]) await lchown(file, uid, gid).catch(unlessAbsent);
  } catch (error) {
    throw fileFailure(error, "the VM's files could not be given to the user of DROVER_QEMU_USER");
  }
}

function unlessAbsent(error: unknown): void {
  if (errnoOf(error) !== "ENOENT") throw error;
}
