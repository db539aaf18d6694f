import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { APT_ENVIRONMENT, hasPackageLists, updatePackageLists } from "./apt.mjs";
import { findCommand, run } from "./command.mjs";

/**
 * Debian packages as files: downloaded and unpacked, never installed, so that building a guest changes nothing on the
 * host (installing a kernel package would also write to /boot and rebuild its initrd).
 * @param {{ downloads: string, unpacked: string }} folders `downloads` is kept for the next build, `unpacked` is not
 */
export function packageStore({ downloads, unpacked }) {
  return { fetch, tool };

  /**
   * @param {string} name
   * @returns {Promise<{ version: string, root: string }>} the folder that stands for `/`
   */
  async function fetch(name) {
    await mkdir(downloads, { recursive: true });
    const { version, file } = await download(name, downloads);
    const root = join(unpacked, name);
    await mkdir(root, { recursive: true });
    await run("dpkg-deb", ["-x", join(downloads, file), root]);
    return { version, root };
  }

  /**
   * A command that only the build needs: the installed one, else the one in the package.
   * @param {string} command
   * @param {string} packageName
   */
  async function tool(command, packageName) {
    return findCommand(command) ?? join((await fetch(packageName)).root, "usr/bin", command);
  }
}

/**
 * Where a package keeps what stands in /bin or /lib: newer Debian has moved both below /usr.
 * @param {string} root
 * @param {string} path
 */
export function inPackage(root, path) {
  return [join(root, path), join(root, "usr", path)].find((place) => existsSync(place)) ?? join(root, path);
}

/**
 * The package that a metapackage such as linux-image-amd64 stands for.
 * @param {string} metapackage
 */
export async function dependencyOf(metapackage) {
  const answer = await asking(metapackage, () => run("apt-cache", ["depends", metapackage], { env: APT_ENVIRONMENT }));
  const name = /^\s*Depends:\s*(\S+)/m.exec(answer.toString())?.[1];
  if (name === undefined) throw new Error(`apt knows no package behind ${metapackage}. Run: sudo apt-get update`);
  return name;
}

/**
 * @param {string} name
 * @param {string} downloads
 */
async function download(name, downloads) {
  const show = () => run("apt-cache", ["show", "--no-all-versions", name], { env: APT_ENVIRONMENT });
  const record = (await asking(name, show)).toString();
  const version = /^Version: (\S+)/m.exec(record)?.[1];
  const architecture = /^Architecture: (\S+)/m.exec(record)?.[1];
  if (version === undefined) throw new Error(`apt cannot say which version of ${name} it has`);
  // apt's own file name: the epoch's colon is written as %3a.
  const file = `${name}_${version.replace(":", "%3a")}_${architecture}.deb`;
  if ((await readdir(downloads)).includes(file)) return { version, file };
  const staging = await mkdtemp(join(downloads, "fetching-"));
  try {
    // As root, apt fetches as user _apt, who cannot write here; the package's checksum is verified all the same.
    const asSelf = ["-o", "APT::Sandbox::User=root"];
    const fetchFile = () =>
      run("apt-get", [...asSelf, "-qq", "download", name], { cwd: staging, env: APT_ENVIRONMENT });
    await fetchFile().catch(async () => {
      // The usual reason: the lists are older than the mirror, which has a newer version by now.
      await updatePackageLists();
      await fetchFile();
    });
    const [fetched = file] = await readdir(staging);
    await rename(join(staging, fetched), join(downloads, fetched));
    return { version: fetched.split("_")[1]?.replace("%3a", ":") ?? version, file: fetched };
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/**
 * Asks apt about a package, with one refresh of the lists when it knows nothing.
 * @param {string} name
 * @param {() => Promise<Buffer>} question
 */
async function asking(name, question) {
  if (findCommand("apt-cache") === undefined || findCommand("dpkg-deb") === undefined) {
    throw new Error(
      `the demo guest is built from Debian packages (${name}), which needs apt and dpkg. ` +
        "Build it on a Debian machine with `node guest/build.mjs --out DIR` and copy DIR here.",
    );
  }
  if (hasPackageLists()) {
    const answer = await question().catch(() => undefined);
    if (answer !== undefined) return answer;
  }
  await updatePackageLists();
  return question();
}
