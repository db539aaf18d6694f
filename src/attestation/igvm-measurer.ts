import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { Sha384Hex } from "../contract/attestation-record.ts";
import { TIME_UP, within } from "../runtime/bounded-wait.ts";
import type { Clock } from "../runtime/clock.ts";
import { errnoOf } from "../runtime/errno.ts";
import { igvmmeasurePath, runIgvmmeasure } from "./igvmmeasure.ts";
import { PolicyInputError } from "./policy-file.ts";

/** A measuring that failed is not tried again before; launches must not wait for it one after the other. */
const TRY_AGAIN_MS = 60_000;
/** A launch is not held up for longer: the run goes on, and the next launch has its result. */
const WAIT_MAX_MS = 10_000;

export interface IgvmMeasurement {
  /** SHA-256 of the file, in hex. */
  readonly igvmDigest: string;
  /** The launch measurement that a guest started from it has, in hex. */
  readonly measurement: string;
}

/**
 * What igvmmeasure says of IGVM files. It runs once for each content: results are kept in memory and below the state
 * directory, and launches at the same time share one run.
 */
export class IgvmMeasurer {
  readonly #binary: string;
  readonly #cacheDir: string;
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #waitMaxMs: number;
  readonly #measurements = new Map<string, Promise<string>>();
  readonly #failures = new Map<string, { readonly error: unknown; readonly atMs: number }>();
  readonly #closed = new AbortController();
  #digest: { readonly of: string; readonly value: string } | undefined;

  constructor(options: {
    binaryDir: string;
    stateDir: string;
    clock: Pick<Clock, "monotonicMs">;
    /** How long a caller waits at most; settable so that tests are quick. */
    waitMaxMs?: number;
  }) {
    this.#binary = igvmmeasurePath(options.binaryDir);
    this.#cacheDir = join(options.stateDir, "igvm-measurements");
    this.#clock = options.clock;
    this.#waitMaxMs = options.waitMaxMs ?? WAIT_MAX_MS;
  }

  /** Throws {@link PolicyInputError}, and the signal's reason; the run itself goes on for others, in its bounds. */
  async measure(igvmFile: string, signal: AbortSignal): Promise<IgvmMeasurement> {
    const measured = await within(this.#measure(igvmFile), this.#waitMaxMs, signal);
    if (measured === TIME_UP)
      throw new PolicyInputError(
        `${igvmFile} was not measured within ${this.#waitMaxMs} ms; a later launch may have it`,
      );
    return measured;
  }

  /** Ends what runs. */
  close(): void {
    this.#closed.abort(new PolicyInputError("the worker ends"));
  }

  async #measure(igvmFile: string): Promise<IgvmMeasurement> {
    const igvmDigest = await this.#digestOf(igvmFile);
    const failure = this.#failures.get(igvmDigest);
    if (failure !== undefined && this.#clock.monotonicMs() - failure.atMs < TRY_AGAIN_MS) throw failure.error;
    let measuring = this.#measurements.get(igvmDigest);
    if (measuring === undefined) {
      measuring = this.#kept(igvmDigest).then((kept) => kept ?? this.#run(igvmFile, igvmDigest));
      this.#measurements.set(igvmDigest, measuring);
      measuring.catch((error: unknown) => {
        this.#measurements.delete(igvmDigest);
        this.#failures.set(igvmDigest, { error, atMs: this.#clock.monotonicMs() });
      });
    }
    return { igvmDigest, measurement: await measuring };
  }

  async #run(igvmFile: string, igvmDigest: string): Promise<string> {
    const measurement = await runIgvmmeasure({ binary: this.#binary, igvmFile }, { signal: this.#closed.signal });
    if ((await this.#digestOf(igvmFile)) !== igvmDigest)
      throw new PolicyInputError(`${igvmFile} changed while it was measured`);
    await this.#keep(igvmDigest, measurement).catch(() => undefined); // the next worker measures once more
    return measurement;
  }

  /** Read again only when the file looks changed: every launch asks. */
  async #digestOf(igvmFile: string): Promise<string> {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(igvmFile, { bigint: true });
      const of = [igvmFile, dev, ino, size, mtimeNs, ctimeNs].join(":");
      if (this.#digest?.of === of) return this.#digest.value;
      const hash = createHash("sha256");
      await pipeline(createReadStream(igvmFile), hash, { signal: this.#closed.signal });
      this.#digest = { of, value: hash.digest("hex") };
      return this.#digest.value;
    } catch (error) {
      throw new PolicyInputError(`MANAGER_QEMU_IGVM_FILE: ${igvmFile} cannot be read (${errnoOf(error) ?? "ended"})`);
    }
  }

  async #kept(igvmDigest: string): Promise<string | undefined> {
    const text = await readFile(join(this.#cacheDir, igvmDigest), "utf8").catch(() => ""); // none, or not readable: measured anew
    const kept = Sha384Hex.safeParse(text.trim());
    return kept.success ? kept.data : undefined;
  }

  async #keep(igvmDigest: string, measurement: string): Promise<void> {
    await mkdir(this.#cacheDir, { recursive: true, mode: 0o700 });
    const path = join(this.#cacheDir, igvmDigest);
    await writeFile(`${path}.tmp`, `${measurement}\n`, { mode: 0o600 });
    await rename(`${path}.tmp`, path);
  }
}
