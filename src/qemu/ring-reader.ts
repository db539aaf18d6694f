import { RESULT_MAX_BYTES, TAIL_MAX_BYTES } from "../contract/limits.ts";
import { pause, TIME_UP, within } from "../runtime/bounded-wait.ts";
import { BoundedFile, type FileBound, readTail } from "./bounded-file.ts";

/** One QMP reply carries at most this much; as base64 it stays far below the longest line. */
const READ_BYTES = 64 * 1024;
const FLOWING_INTERVAL_MS = 200;
const IDLE_INTERVAL_MS = 2_000;
/** After an overrun: the guest is faster than any reader, so reading more often would only cost both of us. */
const OVERRUN_INTERVAL_MS = 1_000;
const INTERVAL_GROWTH = 1.5;
/** Two whole results with their headers: a flooded port ends inside one message, the one before is whole. */
const RESULT_KEEP_BYTES = 2 * (RESULT_MAX_BYTES + 256);

/** A ring buffer inside QEMU (`-chardev ringbuf`) and where its content goes. */
export interface RingSpec {
  /** Id of the chardev. */
  readonly device: "console" | "result";
  /** Its `size=` on the command line. */
  readonly capacityBytes: number;
  readonly bound: FileBound;
  /** Stands in the file where output is missing; absent where only the guest's own bytes may stand. */
  readonly gapNote?: string;
}

/** The guest's serial console. */
export const CONSOLE_RING: RingSpec = {
  device: "console",
  capacityBytes: 1024 * 1024,
  bound: { maxBytes: 256 * 1024, keepBytes: TAIL_MAX_BYTES },
  gapNote: "\n[drover: the guest wrote faster than this could be read; some of its output is missing here]\n",
};

/** What the guest hands back over the port `drover.result`. */
export const RESULT_RING: RingSpec = {
  device: "result",
  capacityBytes: 256 * 1024,
  bound: { maxBytes: 256 * 1024, keepBytes: RESULT_KEEP_BYTES },
};

export interface RingChunk {
  readonly bytes: Buffer;
  /** Output before this chunk was overwritten before it could be read. */
  readonly skipped: boolean;
}

export interface RingReaderOptions {
  readonly spec: RingSpec;
  /** Path of the bounded file. */
  readonly path: string;
  /** Reads and removes up to `sizeBytes` from the ring; rejects when QEMU does not answer. */
  readonly read: (device: string, sizeBytes: number) => Promise<Buffer>;
  readonly onChunk?: (chunk: RingChunk) => void;
  /** The file could not be written (a full disk): reading goes on, so that the memory's tail stays good. */
  readonly onFileError?: (error: unknown) => void;
}

/**
 * Moves the content of one ring out of QEMU: to a callback, to a bounded file, and its end to memory. The guest may
 * write without end: ring, file, memory and reading rate are all bounded, and what was lost is said.
 */
export class RingReader {
  readonly #options: RingReaderOptions;
  readonly #file: BoundedFile;
  readonly #stopped = new AbortController();
  #tail: Buffer = Buffer.alloc(0);
  #turn: Promise<unknown> = Promise.resolve();
  #loop: Promise<void> | undefined;

  constructor(options: RingReaderOptions) {
    this.#options = options;
    this.#file = new BoundedFile(options.path, options.spec.bound);
  }

  /** The last bytes that were read, by a predecessor of this process too. */
  get tail(): Buffer {
    return this.#tail;
  }

  /** Begins to read. Takes over what an earlier reader left in the file. To be called once. */
  start(): void {
    if (this.#loop !== undefined) return;
    this.#turn = this.#takeOver();
    this.#loop = this.#run();
  }

  /** Ends reading; nothing is read any more once it resolves. Tolerates never-started. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#loop;
    await this.#turn.catch(() => undefined); // its caller has the error
  }

  /** Reads what is there now, once. Rejects when QEMU does not answer, and after `timeoutMs`. */
  async drain(timeoutMs: number): Promise<void> {
    const done = await within(this.#inTurn(), timeoutMs);
    if (done === TIME_UP)
      throw new Error(`the ring '${this.#options.spec.device}' could not be read in ${timeoutMs} ms`);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    let intervalMs = FLOWING_INTERVAL_MS;
    while (!signal.aborted) {
      // A failed read is the monitor's to report; the ring keeps its content until the next turn.
      const turn = await this.#inTurn().catch(() => ({ bytes: 0, skipped: false }));
      if (turn.skipped) intervalMs = OVERRUN_INTERVAL_MS;
      else if (turn.bytes > 0) intervalMs = FLOWING_INTERVAL_MS;
      else intervalMs = Math.min(IDLE_INTERVAL_MS, intervalMs * INTERVAL_GROWTH);
      await pause(intervalMs, signal).catch(() => undefined); // aborted: the loop's condition sees it
    }
  }

  async #takeOver(): Promise<void> {
    const { path, spec, onFileError } = this.#options;
    try {
      this.#tail = await readTail(path, spec.bound.keepBytes);
    } catch (error) {
      onFileError?.(error);
    }
  }

  /** One turn after the other, so that chunks keep their order. */
  #inTurn(): Promise<{ readonly bytes: number; readonly skipped: boolean }> {
    const turn = this.#turn.catch(() => undefined).then(() => this.#empty());
    this.#turn = turn;
    turn.catch(() => undefined); // every caller gets it from the promise that it holds
    return turn;
  }

  /** Reads until the ring is empty, or its whole capacity was read, which means that it may have overrun. */
  async #empty(): Promise<{ readonly bytes: number; readonly skipped: boolean }> {
    const { spec, read } = this.#options;
    const parts: Buffer[] = [];
    let bytes = 0;
    try {
      while (bytes < spec.capacityBytes) {
        const part = await read(spec.device, READ_BYTES);
        bytes += part.length;
        if (part.length > 0) parts.push(part);
        if (part.length < READ_BYTES) break;
      }
    } finally {
      await this.#deliver(parts, bytes >= spec.capacityBytes); // what was read is gone from the ring
    }
    return { bytes, skipped: bytes >= spec.capacityBytes };
  }

  async #deliver(parts: readonly Buffer[], skipped: boolean): Promise<void> {
    if (parts.length === 0) return;
    const { spec, onChunk, onFileError } = this.#options;
    const note = skipped && spec.gapNote !== undefined ? [Buffer.from(spec.gapNote)] : [];
    const output = Buffer.concat([...note, ...parts]);
    // Copied, so that the tail does not hold the memory of all that was before it.
    this.#tail = Buffer.from(Buffer.concat([this.#tail, output]).subarray(-spec.bound.keepBytes));
    parts.forEach((part, index) => {
      onChunk?.({ bytes: part, skipped: skipped && index === 0 });
    });
    try {
      await this.#file.append(output);
    } catch (error) {
      onFileError?.(error);
    }
  }
}
