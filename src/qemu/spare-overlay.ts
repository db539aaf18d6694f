import { mkdir, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pause } from "../runtime/bounded-wait.ts";
import { errnoOf } from "../runtime/errno.ts";
import { type DiskRequest, diskSizeGib, prepareDisk } from "./disk-image.ts";
import { DiskSources } from "./disk-source.ts";

const REFILL_AFTER_MS = 250;

type OverlayRequest = Pick<DiskRequest, "sourceFile" | "destinationFile" | "format" | "mode" | "signal">;

/**
 * Keeps one empty overlay ready, made while nobody waits for it: a launch then takes it by a rename, where qemu-img would
 * cost it 20 ms. An empty overlay depends on nothing but the path and the size of its source, so that it stays good for
 * as long as these are the same.
 */
export class SpareOverlay {
  readonly #dir: string;
  readonly #sources = new DiskSources();
  readonly #closing = new AbortController();
  #spare: { readonly key: string; readonly file: string } | undefined;
  #making: Promise<void> | undefined;
  #made = 0;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** `dir` is this object's alone: what an earlier worker left in it is deleted. */
  static async open(dir: string): Promise<SpareOverlay> {
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { recursive: true, mode: 0o700 });
    return new SpareOverlay(dir);
  }

  /** Gives a VM its disk: the spare, or one made now. Throws as `prepareDisk` does. Then makes the next spare. */
  async take(request: OverlayRequest): Promise<void> {
    const spare = this.#spare;
    this.#spare = undefined;
    const isTaken =
      spare !== undefined && spare.key === (await this.#keyOf(request)) && (await moved(spare.file, request));
    if (!isTaken) await prepareDisk({ ...request, sources: this.#sources });
    if (spare !== undefined && !isTaken) await rm(spare.file, { force: true });
    this.#making ??= this.#makeNext(request).finally(() => {
      this.#making = undefined;
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#making;
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #makeNext({ sourceFile, format, mode }: OverlayRequest): Promise<void> {
    const { signal } = this.#closing;
    // Not beside the QEMU that is about to start: that one is waited for.
    await pause(REFILL_AFTER_MS, signal).catch(() => undefined); // closing: nothing is made
    const file = join(this.#dir, `overlay-${this.#made++}.qcow2`);
    try {
      const key = await this.#keyOf({ sourceFile, format, mode });
      if (key === undefined || signal.aborted) return; // a copy costs what its source is large: none is made in advance
      await prepareDisk({ sourceFile, destinationFile: file, format, mode, sources: this.#sources, signal });
      this.#spare = { key, file };
    } catch {
      // The next launch makes its own disk and reports what is wrong, as its VM's cause.
    }
  }

  /** What a spare must agree in; undefined where the disk would be a copy. */
  async #keyOf({
    sourceFile,
    format,
    mode,
  }: Pick<OverlayRequest, "sourceFile" | "format" | "mode">): Promise<string | undefined> {
    if (mode !== "overlay" || format !== "qcow2") return undefined;
    const path = resolve(sourceFile);
    const source = await this.#sources.look(path, {
      qemuImgPath: "qemu-img",
      timeoutMs: 10_000,
      signal: this.#closing.signal,
      operatorPaths: { diskSource: path },
    });
    return source.format === "qcow2" ? `${path} ${diskSizeGib(source.virtualSizeBytes)}` : undefined;
  }
}

async function moved(file: string, { destinationFile }: OverlayRequest): Promise<boolean> {
  try {
    await rename(file, destinationFile);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false; // somebody cleaned the state directory
    throw error;
  }
}
