import { rm } from "node:fs/promises";
import { isAbsolute, resolve } from "node:path";
import { type DiskSource, DiskSources } from "./disk-source.ts";
import { type QemuImgRun, runQemuImg } from "./qemu-img.ts";

const GIB_BYTES = 1024 ** 3;
/** A large image on a slow disk. */
const COPY_TIMEOUT_MS = 30 * 60_000;
/** Everything but a copy takes about 12 ms. */
const QUICK_TIMEOUT_MS = 60_000;
const QEMU_IMG = "qemu-img";

export interface DiskRequest {
  /** MANAGER_QEMU_SRC_DISK_FILE. */
  readonly sourceFile: string;
  /** Absolute; must not exist. */
  readonly destinationFile: string;
  /** MANAGER_QEMU_DISK_FORMAT. */
  readonly format: string;
  readonly mode: "overlay" | "copy";
  /** What is known of the source from earlier launches; without it qemu-img is asked each time (12 ms). */
  readonly sources?: DiskSources;
  readonly signal?: AbortSignal;
  readonly qemuImgPath?: string;
  readonly copyTimeoutMs?: number;
}

export interface MadeDisk {
  /** An `overlay` needs its source for as long as it lives. */
  readonly kind: "overlay" | "copy";
  readonly sizeGib: number;
}

/**
 * Makes the writable disk of a VM: a qcow2 overlay of the source, or, when asked for or when source or destination
 * are no qcow2, a copy as Cocos makes it. Its size is that of the source rounded up to whole GiB, and one more.
 * Throws LaunchFailure (`disk_source_missing`, `image_invalid`, `disk_full`, `disk_locked`, `qemu_missing`, ...) and
 * the signal's reason; the unfinished disk is deleted then.
 */
export async function prepareDisk(request: DiskRequest): Promise<MadeDisk> {
  const { destinationFile, format, sources = new DiskSources() } = request;
  if (!isAbsolute(destinationFile)) throw new TypeError(`the disk's path must be absolute (got '${destinationFile}')`);
  const sourceFile = resolve(request.sourceFile);
  const run: QemuImgRun = {
    qemuImgPath: request.qemuImgPath ?? QEMU_IMG,
    timeoutMs: QUICK_TIMEOUT_MS,
    signal: request.signal ?? new AbortController().signal,
    operatorPaths: { diskSource: sourceFile },
  };
  const copyRun: QemuImgRun = { ...run, timeoutMs: request.copyTimeoutMs ?? COPY_TIMEOUT_MS };
  const source = await sources.look(sourceFile, run);
  const sizeGib = diskSizeGib(source.virtualSizeBytes);
  const kind = diskKind(request, source);
  const size = `${sizeGib}G`;
  try {
    if (kind === "overlay") {
      const overlay = ["-f", "qcow2", "-F", "qcow2", "-b", sourceFile];
      await runQemuImg(["create", "-q", ...overlay, "--", destinationFile, size], run);
    } else {
      const formats = ["-f", source.format, "-O", format];
      await runQemuImg(["convert", "-q", ...formats, "--", sourceFile, destinationFile], copyRun);
      await runQemuImg(["resize", "-q", "-f", format, "--", destinationFile, size], run);
    }
  } catch (error) {
    await rm(destinationFile, { force: true });
    throw error;
  }
  return { kind, sizeGib };
}

/** Cocos's size: the source's in GiB rounded up, and one GiB more. Pure. */
export function diskSizeGib(virtualSizeBytes: number): number {
  return Math.ceil(virtualSizeBytes / GIB_BYTES) + 1;
}

/** An overlay only where both are qcow2; everything else is copied. Pure. */
export function diskKind(request: Pick<DiskRequest, "mode" | "format">, source: DiskSource): "overlay" | "copy" {
  const bothQcow2 = source.format === "qcow2" && request.format === "qcow2";
  return request.mode === "overlay" && bothQcow2 ? "overlay" : "copy";
}
