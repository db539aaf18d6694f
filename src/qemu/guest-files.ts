import { constants } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import type { VmSecrets, VmSpec } from "../contract/vm-request.ts";
import { environmentFile, guestCertificates } from "./environment-file.ts";
import { fileFailure } from "./file-failure.ts";
import { removeGuestFiles } from "./vm-directory.ts";
import type { VmPaths } from "./vm-paths.ts";

const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * Makes the two shares of the guest in the launch's directory: `env/environment` and `certs/{cert,key,ca}.pem`, the
 * three always there, perhaps empty (as Cocos does). Directories 0700 and files 0600 (Cocos: 0644), because QEMU runs
 * as the same user. Nothing is left of them when it fails.
 * Throws LaunchFailure (`state_dir_unusable`, `disk_full`, `spec_invalid`); also when a file is already there.
 */
export async function writeGuestFiles(
  paths: VmPaths,
  guest: { readonly vmId: string; readonly spec: VmSpec; readonly secrets: VmSecrets },
): Promise<void> {
  const environment = environmentFile(guest.vmId, guest.spec, guest.secrets);
  const { cert, key, ca } = guestCertificates(guest.spec, guest.secrets);
  try {
    await Promise.all([mkdir(paths.environmentDir, { mode: 0o700 }), mkdir(paths.certsDir, { mode: 0o700 })]);
  } catch (error) {
    // One of them may be somebody else's, so neither is deleted here; they hold nothing yet.
    throw fileFailure(error, "the guest's shares could not be made");
  }
  const written = await Promise.allSettled([
    writeNew(paths.environment, environment),
    writeNew(paths.cert, cert),
    writeNew(paths.key, key),
    writeNew(paths.ca, ca),
  ]);
  const failed = written.find((result) => result.status === "rejected");
  if (failed === undefined) return;
  await removeGuestFiles(paths);
  throw fileFailure(failed.reason, "the guest's files could not be written");
}

async function writeNew(path: string, content: string | Buffer): Promise<void> {
  const file = await open(path, NEW_FILE, 0o600);
  try {
    await file.writeFile(content);
  } finally {
    await file.close();
  }
}
