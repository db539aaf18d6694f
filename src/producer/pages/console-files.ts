import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Below this the browser finds what the fleet page is made of; the digest of all of it comes next in the path. */
export const CONSOLE_PATH = "/console";
const PACKAGES_FOLDER = "packages";

const TYPES: Readonly<Record<string, string>> = {
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
};

interface ConsoleFile {
  readonly contentType: string;
  readonly bytes: Buffer;
}

export interface ConsoleFiles {
  /** Where the files stand: another path whenever one of them is another. */
  readonly base: string;
  /** By their path below `base`. */
  readonly files: ReadonlyMap<string, ConsoleFile>;
  /** What the modules call by a bare name, and where it is. JSON for a script of type importmap. */
  readonly importMap: string;
}

/** Reads all of it once, at the start of the API: a few dozen files, served as they are. */
export function readConsoleFiles(): ConsoleFiles {
  const folder = fileURLToPath(new URL("../../console/", import.meta.url));
  const own = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => typeOf(name) !== undefined)
    .sort();
  const packages = packageFiles();
  const files = new Map<string, ConsoleFile>([
    ...own.map((name) => [name, toFile(name, join(folder, name))] as const),
    ...packages.map(({ path, at }) => [path, toFile(path, at)] as const),
  ]);
  const base = `${CONSOLE_PATH}/${digestOf(files)}`;
  const imports = Object.fromEntries(packages.map(({ name, path }) => [name, `${base}/${path}`]));
  return { base, files, importMap: JSON.stringify({ imports }) };
}

/** The packages of the page, each one a module that needs no build. */
function packageFiles(): { readonly name: string; readonly path: string; readonly at: string }[] {
  const { resolve } = createRequire(import.meta.url);
  return [
    { name: "preact", at: resolve("preact") },
    { name: "preact/hooks", at: resolve("preact/hooks") },
    { name: "htm", at: join(dirname(resolve("htm")), "htm.mjs") }, // what `require` finds is not for browsers
  ].map(({ name, at }) => ({ name, path: `${PACKAGES_FOLDER}/${name.replace("/", "-")}.js`, at }));
}

function toFile(name: string, at: string): ConsoleFile {
  return { contentType: typeOf(name) ?? "", bytes: readFileSync(at) };
}

function typeOf(name: string): string | undefined {
  return TYPES[name.slice(name.lastIndexOf(".") + 1)];
}

function digestOf(files: ReadonlyMap<string, ConsoleFile>): string {
  const hash = createHash("sha256");
  for (const [name, { bytes }] of files) hash.update(`${name} ${bytes.length}\n`).update(bytes);
  return hash.digest("hex").slice(0, 16);
}
