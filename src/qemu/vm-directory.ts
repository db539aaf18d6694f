import { mkdir, readdir, rm, rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import { errnoOf } from "../runtime/errno.ts";
import { fileFailure } from "./file-failure.ts";
import { isVmId, type VmPaths, vmsDirectory } from "./vm-paths.ts";

/**
 * Makes the directory of a launch and what is missing above it, mode 0700. It may exist already.
 * Throws LaunchFailure (`state_dir_unusable`, `disk_full`).
 */
export async function makeVmDirectory(paths: VmPaths): Promise<void> {
  try {
    await mkdir(paths.dir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw fileFailure(error, "the VM's directory could not be made");
  }
}

/** Deletes the guest's secrets: both shares. To be called once QEMU is proved dead; done twice it is no error. */
export async function removeGuestFiles(paths: VmPaths): Promise<void> {
  await Promise.all([rm(paths.certsDir, REMOVE), rm(paths.environmentDir, REMOVE)]);
}

/** Deletes disk and firmware variables. Done twice it is no error. */
export async function removeDiskAndVariables(paths: VmPaths): Promise<void> {
  await Promise.all([rm(paths.disk, REMOVE), rm(paths.ovmfVars, REMOVE)]);
}

/** Deletes the whole directory of a launch, record included, and the VM's own when no launch is left in it. */
export async function removeVmDirectory(paths: VmPaths): Promise<void> {
  await rm(paths.dir, REMOVE);
  await removeIfEmpty(dirname(paths.dir));
}

/** The launches that have a directory, in no order. What does not look like one is passed over. */
export async function listVmDirectories(stateDir: string): Promise<readonly { vmId: string; epoch: number }[]> {
  const found: { vmId: string; epoch: number }[] = [];
  for (const vmId of (await namesIn(vmsDirectory(stateDir))).filter(isVmId)) {
    for (const name of await namesIn(`${vmsDirectory(stateDir)}/${vmId}`)) {
      if (/^[1-9]\d{0,14}$/.test(name)) found.push({ vmId, epoch: Number(name) });
    }
  }
  return found;
}

/**
 * Deletes the directories of VMs in which no launch is left: a worker may have died between the two. To be called while
 * nothing is being launched.
 */
export async function removeEmptyVmDirectories(stateDir: string): Promise<void> {
  for (const vmId of (await namesIn(vmsDirectory(stateDir))).filter(isVmId)) {
    await removeIfEmpty(`${vmsDirectory(stateDir)}/${vmId}`);
  }
}

async function removeIfEmpty(directory: string): Promise<void> {
  try {
    await rmdir(directory);
  } catch (error) {
    const code = errnoOf(error);
    if (code !== "ENOTEMPTY" && code !== "EEXIST" && code !== "ENOENT") throw error;
  }
}

/** fs.rm removes a symbolic link itself and never what it points to. */
const REMOVE = { recursive: true, force: true } as const;

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}
