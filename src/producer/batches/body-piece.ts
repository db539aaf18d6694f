/** A piece of a batch's body: one of its requests, or in a JSON object one of the other fields. */
export type BodyPiece =
  | {
      readonly kind: "item";
      /** Line of NDJSON, or place in a JSON list, from 1. */
      readonly line: number;
      /** Undefined: longer than any request may be. */
      readonly bytes: Buffer | undefined;
    }
  | { readonly kind: "field"; readonly name: string; readonly bytes: Buffer };

/** Cuts a body into pieces as its bytes come, however these are chunked. Holds one piece at most. */
export interface BodySplitter {
  push(chunk: Buffer): Iterable<BodyPiece>;
  /** What the end of the body makes whole. Throws `malformed_body` where the body cannot end here. */
  end(): Iterable<BodyPiece>;
}

/** The bytes of the piece that is under way; those beyond the bound are counted and not kept. */
export class PieceBytes {
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  add(part: Buffer): void {
    this.#length += part.length;
    if (this.#length > this.#maxBytes) this.#parts = [];
    else if (part.length > 0) this.#parts.push(part);
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** The whole of it, undefined where it is too long; then begins anew. */
  take(): Buffer | undefined {
    const parts = this.#parts;
    const isTooLong = this.#length > this.#maxBytes;
    this.#parts = [];
    this.#length = 0;
    if (isTooLong) return undefined;
    const [only] = parts;
    return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
  }
}
