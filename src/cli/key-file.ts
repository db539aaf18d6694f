import { chown, readFile, realpath, stat } from "node:fs/promises";
import { writeDurably } from "../qemu/durable-file.ts";
import { errnoOf } from "../runtime/errno.ts";
import { loadSecretKeys, parseSecretKeys } from "../runtime/secret-keys.ts";
import { CliError, UsageError } from "./cli-error.ts";
import { EXIT } from "./exit-codes.ts";

/** One key of a key file: `line` holds its bytes and is never shown. */
interface KeyLine {
  readonly id: string;
  readonly line: string;
}

/** Ids of a file's keys, the sealing one first. Throws `config_invalid` as a server does that reads it. */
export async function keyIdsOf(path: string): Promise<readonly string[]> {
  return (await readLines(path)).map(({ id }) => id);
}

/** Puts a key in front: it seals from now on. Makes the file, mode 0600, if there is none. Gives the key's id. */
export async function sealWith(path: string, line: string): Promise<string> {
  const [fresh] = linesOf(line);
  if (fresh === undefined) throw new RangeError("no key");
  const lines = await readLines(path).catch(emptyIfAbsent);
  refuseKnown(path, lines, [fresh]);
  await write(path, [fresh, ...lines]);
  return fresh.id;
}

/** Adds keys behind those that are there: they open boxes and seal none. Gives their ids. */
export async function alsoOpenWith(path: string, text: string): Promise<readonly string[]> {
  const added = linesOf(text, "the standard input");
  const lines = await readLines(path);
  refuseKnown(path, lines, added);
  await write(path, [...lines, ...added]);
  return added.map(({ id }) => id);
}

/** Lets a key that is there seal. */
export async function makeFirst(path: string, id: string): Promise<void> {
  const lines = await readLines(path);
  const chosen = named(path, lines, id);
  await write(path, [chosen, ...lines.filter((one) => one !== chosen)]);
}

/** Takes a key out. The one that seals stays: throws a usage error for it. */
export async function dropKey(path: string, id: string): Promise<void> {
  const lines = await readLines(path);
  const chosen = named(path, lines, id);
  if (chosen === lines[0]) {
    throw new UsageError(`key ${id} is the one that seals`, {
      hint: "Let another seal first: drover key use ID, or drover key new --file FILE.",
    });
  }
  await write(
    path,
    lines.filter((one) => one !== chosen),
  );
}

function named(path: string, lines: readonly KeyLine[], id: string): KeyLine {
  const found = lines.find((one) => one.id === id);
  if (found !== undefined) return found;
  throw new UsageError(`${path} has no key ${id}`, { hint: `It has: ${lines.map((one) => one.id).join(", ")}.` });
}

function refuseKnown(path: string, lines: readonly KeyLine[], added: readonly KeyLine[]): void {
  const known = added.find(({ id }) => lines.some((one) => one.id === id));
  if (known === undefined) return;
  throw new UsageError(`${path} has a key ${known.id} already`, { hint: "Ids of keys must differ; take another." });
}

async function readLines(path: string): Promise<readonly KeyLine[]> {
  const keys = await loadSecretKeys({ keys: "", keyFile: path }); // checks mode and every key
  if (keys === undefined) {
    throw new CliError(`there is no key file ${path}`, {
      code: "key_file_missing",
      exitCode: EXIT.usage,
      hint: `Make one: drover key new --file ${path}`,
    });
  }
  return linesOf(await readFile(path, "utf8"), path);
}

function emptyIfAbsent(error: unknown): readonly KeyLine[] {
  if (error instanceof CliError && error.code === "key_file_missing") return [];
  throw error;
}

function linesOf(text: string, source = "the key"): readonly KeyLine[] {
  parseSecretKeys(text, source);
  return text
    .split(/[,\n]/)
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .map((line) => ({ id: line.slice(0, line.indexOf(":")), line }));
}

/** Whoever reads the file must be able to read the new one: what root writes stays its owner's. */
async function write(path: string, lines: readonly KeyLine[]): Promise<void> {
  const target = await realpath(path).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return path;
    throw error;
  });
  const before = await stat(target).catch(() => undefined); // a new file is of whoever makes it
  await writeDurably(target, `${lines.map(({ line }) => line).join("\n")}\n`);
  if (before === undefined) return;
  const after = await stat(target);
  if (after.uid !== before.uid || after.gid !== before.gid) await chown(target, before.uid, before.gid);
}
