import { stat } from "node:fs/promises";
import { execa } from "execa";
import { errnoOf } from "../runtime/errno.ts";
import { childEnvironment } from "./qemu-process.ts";

/** A disk image of some hundred gigabytes; on a busy host the digest yields to everything else. */
const DIGEST_MAX_MS = 10 * 60_000;
const KILL_AFTER_MS = 1_000;
const DIGEST_LINE = /^\\?([0-9a-f]{64}) /;
/** Each is some hundred bytes; a host's VMs are made of a handful of files. */
const CACHED_FILES_MAX = 64;

/** What a file holds, as far as it could be found out. Times are Unix ms. */
export interface FileDigest {
  readonly bytes: number | null;
  readonly modifiedAtMs: number | null;
  readonly sha256: string | null;
  /** Why there is no digest. */
  readonly problem: string | null;
}

/**
 * SHA-256 digests of files, computed once for each content: a file counts as the same while its inode, size and times
 * stay. A process of lowest priority computes them, so that neither the event loop nor a launch waits for it.
 */
export class FileDigests {
  readonly #known = new Map<string, string>();

  /** Never rejects, except with the signal's reason. `path` is absolute. */
  async digest(path: string, signal: AbortSignal): Promise<FileDigest> {
    const before = await identify(path);
    if (before.identity === undefined) return { ...NOTHING, problem: before.problem };
    const { identity, bytes, modifiedAtMs } = before;
    const known = this.#known.get(identity);
    if (known !== undefined) return { bytes, modifiedAtMs, sha256: known, problem: null };
    const read = await compute(path, signal);
    if (typeof read !== "string") return { bytes, modifiedAtMs, sha256: null, problem: read.problem };
    const after = await identify(path);
    if (after.identity !== identity)
      return { bytes, modifiedAtMs, sha256: null, problem: "it changed while it was read" };
    this.#remember(identity, read);
    return { bytes, modifiedAtMs, sha256: read, problem: null };
  }

  #remember(identity: string, sha256: string): void {
    const oldest = this.#known.keys().next();
    if (this.#known.size >= CACHED_FILES_MAX && oldest.done !== true) this.#known.delete(oldest.value);
    this.#known.set(identity, sha256);
  }
}

const NOTHING = { bytes: null, modifiedAtMs: null, sha256: null };

type Identity =
  | { readonly identity: string; readonly bytes: number; readonly modifiedAtMs: number }
  | { readonly identity: undefined; readonly problem: string };

async function identify(path: string): Promise<Identity> {
  try {
    const file = await stat(path, { bigint: true });
    if (!file.isFile()) return { identity: undefined, problem: "it is no regular file" };
    const identity = [file.dev, file.ino, file.size, file.mtimeNs, file.ctimeNs].join(":");
    return { identity, bytes: Number(file.size), modifiedAtMs: Number(file.mtimeMs) };
  } catch (error) {
    return { identity: undefined, problem: errnoOf(error) ?? String(error) };
  }
}

async function compute(path: string, signal: AbortSignal): Promise<string | { readonly problem: string }> {
  signal.throwIfAborted();
  const result = await execa("nice", ["-n", "19", "sha256sum", "--", path], {
    stdin: "ignore",
    reject: false,
    timeout: DIGEST_MAX_MS,
    cancelSignal: signal,
    forceKillAfterDelay: KILL_AFTER_MS,
    extendEnv: false,
    env: childEnvironment(),
  });
  signal.throwIfAborted();
  const sha256 = DIGEST_LINE.exec(result.stdout)?.[1];
  if (sha256 !== undefined) return sha256;
  if (result.timedOut) return { problem: `it could not be read within ${DIGEST_MAX_MS / 60_000} min` };
  return { problem: result.stderr.trim().split("\n").at(-1) || (result.shortMessage ?? "it could not be read") };
}
