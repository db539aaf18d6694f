import { constants } from "node:fs";
import { access, chmod, copyFile, rm, stat } from "node:fs/promises";
import { LaunchFailure } from "../contract/causes.ts";
import { errnoOf } from "../runtime/errno.ts";
import { fileFailure } from "./file-failure.ts";

/**
 * Copies the operator's firmware variables for one VM, mode 0600: QEMU lets two VMs share the file without an error,
 * and each would see the other's boot entries. Where the file system can, the copy shares its blocks.
 * Throws LaunchFailure: `firmware_missing` when the source is absent, unreadable or no file, `disk_full` or
 * `state_dir_unusable` when the copy cannot be written (also when it is already there).
 */
export async function copyFirmwareVars(sourceFile: string, destinationFile: string): Promise<void> {
  await assertReadableFile(sourceFile);
  try {
    await copyFile(sourceFile, destinationFile, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    await chmod(destinationFile, 0o600); // copyFile gives the copy the mode of its source
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") await rm(destinationFile, { force: true });
    throw fileFailure(error, "the firmware variables could not be copied");
  }
}

async function assertReadableFile(path: string): Promise<void> {
  let isFile: boolean;
  try {
    isFile = (await stat(path)).isFile(); // asked first: to open a FIFO would wait for ever
    await access(path, constants.R_OK);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new LaunchFailure("firmware_missing", `the firmware variables cannot be read: ${reason}`, { cause: error });
  }
  if (!isFile) throw new LaunchFailure("firmware_missing", `the firmware variables '${path}' are no regular file`);
}
