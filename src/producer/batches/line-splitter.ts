import { type BodyPiece, type BodySplitter, PieceBytes } from "./body-piece.ts";

const LINE_FEED = 0x0a;
/** Blank, tab and carriage return: a line that holds nothing else is empty. */
const BLANKS: readonly number[] = [0x20, 0x09, 0x0d];

/** Lines of NDJSON. Empty lines are passed over and counted; the last line needs no line feed. */
export class LineSplitter implements BodySplitter {
  readonly #bytes: PieceBytes;
  #line = 1;

  constructor(maxBytes: number) {
    this.#bytes = new PieceBytes(maxBytes);
  }

  *push(chunk: Buffer): Generator<BodyPiece> {
    let from = 0;
    for (let at = chunk.indexOf(LINE_FEED); at !== -1; at = chunk.indexOf(LINE_FEED, from)) {
      this.#bytes.add(chunk.subarray(from, at));
      from = at + 1;
      yield* this.#whole();
    }
    this.#bytes.add(chunk.subarray(from));
  }

  *end(): Generator<BodyPiece> {
    yield* this.#whole();
  }

  *#whole(): Generator<BodyPiece> {
    const line = this.#line++;
    if (this.#bytes.isEmpty) return;
    const bytes = this.#bytes.take();
    if (bytes === undefined || !bytes.every((byte) => BLANKS.includes(byte))) yield { kind: "item", line, bytes };
  }
}
