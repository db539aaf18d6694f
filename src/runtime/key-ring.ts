import { stat } from "node:fs/promises";
import type { Logger } from "pino";
import type { Config } from "./config-shape.ts";
import { loadSecretKeys, type SecretKeys } from "./secret-keys.ts";

/** A change of the key file is seen within this time; one stat costs nothing. */
const POLL_MS = 1_000;

/** The keys in force. They may be others with every look, so whoever needs the same ones twice looks once. */
export interface KeyRing {
  /** Undefined while there is no key. */
  readonly current: SecretKeys | undefined;
  /** Looks for a change now: a box has come whose key is not here. Never rejects. */
  refresh(): Promise<void>;
}

/** Keys that never change. */
export function fixedKeys(current: SecretKeys | undefined): KeyRing {
  return { current, refresh: async () => undefined };
}

export interface OpenKeyRingOptions {
  readonly secrets: Config["secrets"];
  readonly logger: Logger;
  readonly pollMs?: number;
}

/**
 * The keys of this process. A key file is read again when it has changed, so that a key is changed without a restart;
 * a file that cannot be used then leaves the keys in force that were read last, and the log says why.
 * Throws `config_invalid` when the keys cannot be used at the start.
 */
export async function openKeyRing(options: OpenKeyRingOptions): Promise<WatchedKeys> {
  const { secrets } = options;
  const seen = await fingerprint(secrets.keyFile);
  const keys = await loadSecretKeys(secrets);
  return new WatchedKeys(options, keys, seen);
}

/** Made by {@link openKeyRing}. Whoever opened it stops it. */
class WatchedKeys implements KeyRing {
  readonly #secrets: Config["secrets"];
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout | undefined;
  #keys: SecretKeys | undefined;
  #seen: string;
  #looking: Promise<void> | undefined;

  constructor({ secrets, logger, pollMs = POLL_MS }: OpenKeyRingOptions, keys: SecretKeys | undefined, seen: string) {
    this.#secrets = secrets;
    this.#logger = logger;
    this.#keys = keys;
    this.#seen = seen;
    // Keys of the variable are those of the process for its life.
    const isFile = secrets.keys === "" && secrets.keyFile !== "";
    this.#timer = isFile ? setInterval(() => void this.refresh(), pollMs).unref() : undefined;
  }

  get current(): SecretKeys | undefined {
    return this.#keys;
  }

  refresh(): Promise<void> {
    if (this.#timer === undefined) return Promise.resolve();
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { keyFile } = this.#secrets;
    const now = await fingerprint(keyFile);
    if (now === this.#seen) return;
    this.#seen = now; // before it is read: a change during the reading is seen the next time
    try {
      const keys = await loadSecretKeys(this.#secrets);
      if (keys === undefined) {
        this.#logger.error({ keyFile }, "the key file is gone; the keys that were read from it stay in force");
        return;
      }
      this.#keys = keys;
      const keyIds = [...keys.byId.keys()];
      this.#logger.info({ keyFile, keyIds, sealingId: keys.sealingId }, "the keys of the key file are in force");
    } catch (error) {
      this.#logger.error({ err: error, keyFile }, "the key file cannot be used; the keys of before stay in force");
    }
  }
}

/** Changes whenever the file does, also when another was moved into its place. */
async function fingerprint(path: string): Promise<string> {
  if (path === "") return "";
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(":");
  } catch {
    return "absent"; // or not to be read: reading it says why
  }
}
