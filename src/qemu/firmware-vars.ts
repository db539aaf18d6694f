import { constants, type Stats } from "node:fs";
import { chmod, copyFile, rm, stat } from "node:fs/promises";
import { LaunchFailure } from "../contract/causes.ts";
import { fileFailure } from "./file-failure.ts";

/**
 * Copies the operator's firmware variables for one VM, mode 0600: QEMU lets two VMs share a file without an error,
 * and each would see the other's boot entries. Where the file system can, the copy shares its blocks.
 * Throws LaunchFailure: `firmware_missing` when the source is absent, unreadable or no file, `disk_full` or
 * `state_dir_unusable` when the copy cannot be written.
 */
export async function copyFirmwareVars(sourceFile: string, destinationFile: string): Promise<void> {
  let source: Stats;
  try {
    source = await stat(sourceFile);
  } catch (error) {
    throw new LaunchFailure("firmware_missing", `the firmware variables '${sourceFile}' cannot be read: ${reasonOf(error)}`);
  }
  if (!source.isFile()) throw new LaunchFailure("firmware_missing", `the firmware variables '${sourceFile}' are no file`);
  try {
    await copyFile(sourceFile, destinationFile, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    await chmod(destinationFile, 0o600); // copyFile gives the copy the mode of its source
  } catch (error) {
    const made = await exists(destinationFile);
    if (!made && reasonOf(error).includes("EACCES")) {
      throw new LaunchFailure("firmware_missing", `the firmware variables '${sourceFile}' cannot be read: ${reasonOf(error)}`);
    }
    if (made) await rm(destinationFile, { force: true });
    throw fileFailure(error, "the firmware variables could not be copied");
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
