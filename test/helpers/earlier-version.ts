import { existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";

const ROOT = join(import.meta.dirname, "../..");
/** The last commit before batches and host labels: what a fleet runs that upgrades to this version. */
const EARLIER = "56aeebeed54b19c0d0df04f8e19c3d8abea6b7be";

export interface EarlierVersion extends Disposable {
  /** Its command. */
  readonly command: string;
}

/** That version, built out of the history of this checkout; a reason where the history is not there. */
export async function buildEarlierVersion(): Promise<EarlierVersion | { readonly missing: string }> {
  const { exitCode } = await execa("git", ["cat-file", "-e", `${EARLIER}^{commit}`], { cwd: ROOT, reject: false });
  if (exitCode !== 0) return { missing: `commit ${EARLIER.slice(0, 7)} is not in the history of this checkout` };
  const folder = mkdtempSync(join(tmpdir(), "drv-earlier-"));
  try {
    const archive = join(folder, "source.tar");
    await execa("git", ["archive", "--output", archive, EARLIER], { cwd: ROOT });
    await execa("tar", ["--extract", "--file", archive, "--directory", folder]);
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules")); // this version has all that that one had
    await execa("node", ["scripts/build.mjs"], { cwd: folder });
    const command = join(folder, "bin/drover");
    if (!existsSync(command)) throw new Error("the earlier version has no command");
    return { command, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}
