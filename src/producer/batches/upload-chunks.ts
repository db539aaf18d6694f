import type { Readable } from "node:stream";
import { DroverError } from "../../contract/errors.ts";
import { TIME_UP, within } from "../../runtime/bounded-wait.ts";

export interface UploadBounds {
  readonly maxBytes: number;
  /** A sender that is silent for this long is given up; 0: never. */
  readonly silenceMaxMs: number;
  /** Aborted when the server shuts down. */
  readonly closing: AbortSignal;
}

/**
 * The bytes of a body as they come, no faster than they are taken. Throws `body_too_large`, `request_timeout` and
 * `shutting_down`; the stream itself stays as it is, so that the sender gets an answer.
 */
export async function* uploadChunks(
  body: Readable,
  { maxBytes, silenceMaxMs, closing }: UploadBounds,
): AsyncGenerator<Buffer> {
  const chunks = body.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]();
  let bytes = 0;
  for (;;) {
    const silenceMs = silenceMaxMs === 0 ? Number.POSITIVE_INFINITY : silenceMaxMs;
    const next = await within(chunks.next(), silenceMs, closing).catch((error: unknown) => {
      if (!closing.aborted) throw error;
      throw new DroverError("shutting_down", "this server is shutting down; send the batch again, with the same key");
    });
    if (next === TIME_UP) {
      const message = `nothing of the body came for ${silenceMaxMs} ms; nothing was accepted`;
      throw new DroverError("request_timeout", message);
    }
    if (next.done === true) return;
    const chunk: Buffer = next.value;
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new DroverError(
        "body_too_large",
        `the body is larger than ${maxBytes} bytes (DROVER_BATCH_MAX_BYTES); nothing was accepted: send several batches`,
      );
    }
    yield chunk;
  }
}
