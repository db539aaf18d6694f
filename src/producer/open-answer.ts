import type { FastifyReply } from "fastify";
import { allowSilence } from "./silent-socket.ts";

/** Thrown into whoever writes when the reader is gone, or takes nothing for too long. */
export class ReaderGone extends Error {
  override readonly name = "ReaderGone";
  readonly slow: boolean;

  constructor(slow: boolean) {
    super(slow ? "the reader takes nothing" : "the reader is gone");
    this.slow = slow;
  }
}

export interface OpenAnswerOptions {
  readonly contentType: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A reader that takes nothing for this long while something is written to it is cut. */
  readonly stallMs: number;
  /** Aborted when the server shuts down. */
  readonly closing: AbortSignal;
}

/**
 * An answer that is written piece by piece and stays open. Memory per reader is bounded: a write waits until the reader
 * has taken the pieces before it, so whoever writes must await each.
 */
export class OpenAnswer {
  readonly #raw: FastifyReply["raw"];
  readonly #stallMs: number;
  readonly #gone = new AbortController();
  readonly #over = new AbortController();

  private constructor(reply: FastifyReply, { stallMs, closing }: OpenAnswerOptions) {
    this.#raw = reply.raw;
    this.#stallMs = stallMs;
    const end = () => this.#over.abort();
    const leave = () => {
      closing.removeEventListener("abort", end); // the server outlives its answers by far
      this.#gone.abort();
      end();
    };
    closing.addEventListener("abort", end);
    this.#raw.once("close", leave);
    this.#raw.once("error", leave);
    if (closing.aborted) end();
  }

  /** Sends the head. From here on errors can no longer become problem documents. */
  static begin(reply: FastifyReply, options: OpenAnswerOptions): OpenAnswer {
    for (const [name, value] of Object.entries(options.headers ?? {})) reply.header(name, value);
    reply.headers({
      "content-type": options.contentType,
      "cache-control": "no-store",
      "x-accel-buffering": "no", // else nginx holds pieces back
      connection: "close", // whoever reads to the end needs the connection for nothing more
    });
    reply.hijack();
    allowSilence(reply); // a stalled write has a bound of its own
    const answer = new OpenAnswer(reply, options);
    reply.raw.writeHead(200, definedHeaders(reply));
    reply.raw.flushHeaders();
    return answer;
  }

  /** Aborted when nothing more should be written: the reader is gone, or the server shuts down. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Resolves when there is room for more. Throws {@link ReaderGone}; a slow reader is cut by that. */
  async write(piece: string | Uint8Array): Promise<void> {
    if (this.#gone.signal.aborted) throw new ReaderGone(false);
    if (this.#raw.write(piece)) return;
    if (await this.#drained()) return;
    const slow = !this.#gone.signal.aborted;
    this.cut();
    throw new ReaderGone(slow);
  }

  /** Ends the answer in good order; a reader that does not take the rest is cut. */
  end(): void {
    if (this.#gone.signal.aborted) return;
    this.#raw.end();
    const timer = setTimeout(() => this.cut(), this.#stallMs);
    this.#raw.once("close", () => clearTimeout(timer));
  }

  /** Ends it at once, with whatever the reader has not taken. */
  cut(): void {
    this.#raw.destroy();
  }

  async #drained(): Promise<boolean> {
    const { signal } = this.#gone;
    return new Promise<boolean>((resolve) => {
      const settle = (drained: boolean) => {
        clearTimeout(timer);
        this.#raw.off("drain", onDrain);
        signal.removeEventListener("abort", onGone);
        resolve(drained);
      };
      const onDrain = () => settle(true);
      const onGone = () => settle(false);
      const timer = setTimeout(onGone, this.#stallMs);
      this.#raw.once("drain", onDrain);
      signal.addEventListener("abort", onGone);
    });
  }
}

function definedHeaders(reply: FastifyReply): Record<string, string | number | string[]> {
  const headers: Record<string, string | number | string[]> = {};
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) headers[name] = value;
  return headers;
}
