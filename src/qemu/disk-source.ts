import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { z } from "zod";
import { LaunchFailure } from "../contract/causes.ts";
import { type QemuImgRun, runQemuImg } from "./qemu-img.ts";

/**
 * Image formats by their first bytes. The format is always named to qemu-img: left to guess, it would believe the
 * content of a raw image. What is none of these is raw.
 */
const MAGICS = [
  { format: "qcow2", offset: 0, magic: "QFI\u00fb" },
  { format: "qed", offset: 0, magic: "QED\0" },
  { format: "vmdk", offset: 0, magic: "KDMV" },
  { format: "vhdx", offset: 0, magic: "vhdxfile" },
  { format: "vpc", offset: 0, magic: "conectix" },
  { format: "vdi", offset: 64, magic: "\u007f\u0010\u00da\u00be" },
] as const;
const MAGIC_END_BYTES = 68;
const SOURCES_KEPT = 16;

const Info = z.object({ "virtual-size": z.int().positive(), format: z.string() });

/** An operator's disk image, as far as a launch needs to know it. */
export interface DiskSource {
  readonly format: string;
  readonly virtualSizeBytes: number;
}

/** What is known of the operator's images, so that a launch need not ask qemu-img (12 ms) about one seen before. */
export class DiskSources {
  readonly #known = new Map<string, { readonly version: string; readonly source: DiskSource }>();

  /**
   * Format and size of an image, asked anew when the file has changed (inode, size, time of change).
   * Throws LaunchFailure `disk_source_missing` when it is absent, unreadable or no regular file, otherwise as
   * runQemuImg does, and the signal's reason.
   */
  async look(path: string, run: QemuImgRun): Promise<DiskSource> {
    const { version, format } = await inspect(path);
    const known = this.#known.get(path);
    if (known?.version === version) return known.source;
    const text = await runQemuImg(["info", "-f", format, "--output=json", "--", path], run);
    const info = Info.safeParse(parseJson(text));
    if (!info.success) throw new LaunchFailure("image_invalid", `qemu-img info says nothing useful about '${path}'`);
    const source: DiskSource = { format: info.data.format, virtualSizeBytes: info.data["virtual-size"] };
    const oldest = this.#known.keys().next();
    if (this.#known.size >= SOURCES_KEPT && !oldest.done) this.#known.delete(oldest.value);
    this.#known.set(path, { version, source });
    return source;
  }
}

async function inspect(path: string): Promise<{ readonly version: string; readonly format: string }> {
  try {
    // Without O_NONBLOCK to open a FIFO would wait for ever.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await file.stat({ bigint: true });
      if (!stat.isFile()) throw new Error(`'${path}' is no regular file`);
      const head = Buffer.alloc(MAGIC_END_BYTES);
      await file.read(head, 0, head.length, 0);
      return {
        version: `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`,
        format: formatOf(head),
      };
    } finally {
      await file.close();
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new LaunchFailure("disk_source_missing", `the disk image cannot be read: ${reason}`, { cause: error });
  }
}

/** The format that the first bytes of an image show. Pure. */
export function formatOf(head: Buffer): string {
  const text = head.toString("latin1");
  return MAGICS.find(({ offset, magic }) => text.startsWith(magic, offset))?.format ?? "raw";
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
