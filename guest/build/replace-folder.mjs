import { rename } from "node:fs/promises";

/**
 * Puts a finished folder in the place of an older one. Whoever has files of the old one open keeps them.
 * @param {string} folder
 * @param {string} replacement
 * @param {string} previous where the old one goes, for the caller to delete
 */
export async function replaceFolder(folder, replacement, previous) {
  await rename(folder, previous).catch((error) => {
    if (error.code !== "ENOENT") throw error;
  });
  await rename(replacement, folder).catch((error) => {
    // Somebody else built at the same time and came first. Both used the same sources, so either will do.
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
  });
}
