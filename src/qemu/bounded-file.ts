import { constants, statSync } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import { errnoOf } from "../runtime/errno.ts";

/** How large a file may become, and how much of its end is kept when it would become larger. */
export interface FileBound {
  readonly maxBytes: number;
  readonly keepBytes: number;
}

/**
 * A file that one writer appends to and that never grows beyond its bound: before it would, it is replaced by its own
 * end. It holds no descriptor between appends, so there is nothing to close.
 */
export class BoundedFile {
  readonly path: string;
  readonly #bound: FileBound;
  #sizeBytes: number | undefined;

  constructor(path: string, bound: FileBound) {
    this.path = path;
    this.#bound = bound;
  }

  /** Appends to the file, mode 0600. One append at a time. Throws the system's own errors. */
  async append(bytes: Buffer): Promise<void> {
    this.#sizeBytes ??= await sizeOf(this.path);
    if (this.#sizeBytes + bytes.length <= this.#bound.maxBytes) {
      await writeAll(this.path, bytes, constants.O_APPEND);
      this.#sizeBytes += bytes.length;
      return;
    }
    const { keepBytes } = this.#bound;
    const old = bytes.length < keepBytes ? await readTail(this.path, keepBytes - bytes.length) : Buffer.alloc(0);
    const kept = Buffer.concat([old, bytes.subarray(Math.max(0, bytes.length - keepBytes))]);
    this.#sizeBytes = undefined; // unknown until the replacement stands
    const replacement = `${this.path}.new`;
    try {
      await writeAll(replacement, kept, constants.O_TRUNC);
      await rename(replacement, this.path);
    } catch (error) {
      await rm(replacement, { force: true });
      throw error;
    }
    this.#sizeBytes = kept.length;
  }
}

/** The last `maxBytes` of a file; empty when there is none. Throws the system's own errors otherwise. */
export async function readTail(path: string, maxBytes: number): Promise<Buffer> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
  try {
    const { size } = await file.stat();
    const wanted = Buffer.alloc(Math.min(size, maxBytes));
    const { bytesRead } = await file.read(wanted, 0, wanted.length, size - wanted.length);
    return wanted.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * Keeps a file bounded that another process appends to (opened with O_APPEND): when it has passed the bound it is cut
 * to nothing and its end is written again. What the other writes in that moment may land before that end.
 * Returns whether it was cut. Throws the system's own errors.
 */
export async function boundForeignLog(path: string, bound: FileBound): Promise<boolean> {
  // Asked for every VM every few seconds: a call in place costs a hundredth of one on another thread, and waits for no
  // disk, since the other process holds the file open.
  const { size = 0 } = statSync(path, { throwIfNoEntry: false }) ?? {};
  if (size <= bound.maxBytes) return false;
  const tail = await readTail(path, bound.keepBytes);
  const file = await open(path, constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW);
  try {
    await file.truncate(0);
    await file.writeFile(tail);
  } finally {
    await file.close();
  }
  return true;
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return 0;
    throw error;
  }
}

async function writeAll(path: string, bytes: Buffer, mode: number): Promise<void> {
  const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | mode, 0o600);
  try {
    await file.writeFile(bytes);
  } finally {
    await file.close();
  }
}
