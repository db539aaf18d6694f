import { constants } from "node:fs";
import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { z } from "zod";
import { errnoOf } from "../runtime/errno.ts";

const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

let written = 0;

/** Thrown for a file that exists and cannot be understood. */
export class DamagedFile extends Error {
  override readonly name = "DamagedFile";
}

/**
 * Replaces a file, mode 0600, so that after a crash or power failure the old or the new text stands there whole, and
 * the new one once this returns: written beside it, fsync, rename, fsync of the directory.
 * Throws the system's own errors; the half-made file is deleted then.
 */
export async function writeDurably(path: string, text: string | Uint8Array): Promise<void> {
  written += 1;
  const temporary = `${path}.${process.pid}-${written}.tmp`; // two writers of one path must not share it
  try {
    const file = await open(temporary, NEW_FILE, 0o600);
    try {
      await file.writeFile(text);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  const directory = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/**
 * Reads a JSON file against its schema. Undefined when there is none; throws {@link DamagedFile} when it is no JSON or
 * does not fit, and the system's own errors otherwise.
 */
export async function readDurable<T extends z.ZodType>(path: string, schema: T): Promise<z.infer<T> | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new DamagedFile(`${path} is damaged`, { cause: error });
  }
}
