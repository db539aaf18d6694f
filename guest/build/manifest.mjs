import { createHash } from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

const NAME = "manifest.json";

/**
 * @typedef {object} Manifest
 * @property {string} inputs digest of the guest's sources; another digest means that the image is out of date
 * @property {string} cmdline the kernel line with which this guest boots fastest
 * @property {Record<string, string>} versions of the Debian packages inside
 * @property {Record<string, { bytes: number, sha256: string }>} files
 */

/**
 * Digest of everything in this repository that decides what the image becomes. The Debian packages are not part of it:
 * an image stays valid when Debian publishes a newer kernel (`--fresh` takes it).
 * @param {string} sources the folder `guest`
 */
export async function inputsDigest(sources) {
  const entries = await readdir(sources, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const hash = createHash("sha256");
  for (const path of paths.sort()) {
    const bytes = await readFile(path);
    hash.update(`${path.slice(sources.length)} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest("hex");
}

/**
 * The manifest of a complete image made from these inputs; undefined means: build it.
 * @param {string} folder
 * @param {string} inputs
 * @returns {Promise<Manifest | undefined>}
 */
export async function readManifest(folder, inputs) {
  try {
    const manifest = JSON.parse(await readFile(join(folder, NAME), "utf8"));
    if (manifest.inputs !== inputs) return undefined;
    for (const [name, { bytes }] of Object.entries(manifest.files)) {
      if ((await stat(join(folder, name))).size !== bytes) return undefined;
    }
    return manifest;
  } catch {
    return undefined; // missing, unreadable or half deleted: all of it is mended by a build
  }
}

/**
 * @param {string} folder
 * @param {Omit<Manifest, "files">} about
 * @returns {Promise<Manifest>}
 */
export async function writeManifest(folder, about) {
  /** @type {Manifest["files"]} */
  const files = {};
  for (const name of (await readdir(folder)).sort()) {
    const bytes = await readFile(join(folder, name));
    files[name] = { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  }
  const manifest = { ...about, files };
  await writeFile(join(folder, NAME), `${JSON.stringify(manifest, null, 2)}\n`);
  return manifest;
}
