import { DroverError } from "../../contract/errors.ts";
import { type BodyPiece, type BodySplitter, PieceBytes } from "./body-piece.ts";

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a] as const;
const [LIST, LIST_END, OBJECT, OBJECT_END] = [0x5b, 0x5d, 0x7b, 0x7d] as const;
const BLANKS: readonly number[] = [0x20, 0x09, 0x0a, 0x0d];
const BYTE_ORDER_MARK: readonly number[] = [0xef, 0xbb, 0xbf];
const ITEMS = "items";

/** What the next byte may be a part of. The last three hold a piece, up to the byte that ends it. */
type Place =
  | "start"
  | "first name"
  | "next name"
  | "colon"
  | "list"
  | "first item"
  | "after list"
  | "end"
  | "name"
  | "field"
  | "item";

/**
 * Items and fields of a JSON body: a list of requests, or an object whose field `items` is that list. It only finds
 * where a piece ends, which brackets and quotes tell; whether a piece is JSON is for its reader to say. So a body of any
 * length needs the memory of one piece.
 */
export class ListSplitter implements BodySplitter {
  readonly #piece: PieceBytes;
  readonly #namesSeen = new Set<string>();
  #place: Place = "start";
  #isObject = false;
  #name = "";
  #line = 0;
  #bytesSeen = 0;
  /** Within a piece: brackets that are open, whether in a string, whether after a backslash in it. */
  #depth = 0;
  #inString = false;
  #escaped = false;

  constructor(maxBytes: number) {
    this.#piece = new PieceBytes(maxBytes);
  }

  *push(chunk: Buffer): Generator<BodyPiece> {
    for (let at = 0; at < chunk.length; ) {
      if (this.#place === "name" || this.#place === "field" || this.#place === "item") {
        const end = this.#endOfPiece(chunk, at);
        this.#piece.add(chunk.subarray(at, end));
        const byte = chunk[end];
        if (byte !== undefined) yield* this.#finishPiece(this.#place, byte);
        at = end + 1;
      } else if (this.#step(chunk[at] ?? 0)) at++;
    }
  }

  end(): readonly BodyPiece[] {
    if (this.#place !== "end") throw malformed(this.#place === "start" ? "is empty" : "ends before it is whole");
    return [];
  }

  /** Takes a byte between two pieces; false: it is the first one of an item. */
  #step(byte: number): boolean {
    const isMark = this.#place === "start" && byte === BYTE_ORDER_MARK[this.#bytesSeen];
    this.#bytesSeen++;
    if (isMark || BLANKS.includes(byte)) return true;
    const next = this.#placeAfter(byte);
    if (next === undefined) throw malformed("is not valid JSON");
    this.#place = next;
    return next !== "item";
  }

  #placeAfter(byte: number): Place | undefined {
    switch (this.#place) {
      case "start":
        if (byte !== LIST && byte !== OBJECT) throw malformed("is neither a list nor an object with `items`");
        this.#isObject = byte === OBJECT;
        return this.#isObject ? "first name" : "first item";
      case "first name":
        return byte === QUOTE ? "name" : byte === OBJECT_END ? "end" : undefined;
      case "next name":
        return byte === QUOTE ? "name" : undefined;
      case "colon":
        return byte !== COLON ? undefined : this.#name === ITEMS ? "list" : "field";
      case "list":
        if (byte !== LIST) throw malformed("has `items` that are no list");
        return "first item";
      case "first item":
        return byte === LIST_END ? this.#placeAfterList() : "item";
      case "after list":
        return byte === COMMA ? "next name" : byte === OBJECT_END ? "end" : undefined;
      default:
        return undefined;
    }
  }

  #placeAfterList(): Place {
    return this.#isObject ? "after list" : "end";
  }

  /** Where the byte stands that ends the piece; the length of the chunk when it is not in there. */
  #endOfPiece(chunk: Buffer, from: number): number {
    const close = this.#place === "item" ? LIST_END : OBJECT_END;
    const isName = this.#place === "name";
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at];
      if (this.#escaped) this.#escaped = false;
      else if (this.#inString || isName) {
        if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) {
          if (isName) return at;
          this.#inString = false;
        }
      } else if (byte === QUOTE) this.#inString = true;
      else if (this.#depth === 0 && (byte === COMMA || byte === close)) return at;
      else if (byte === LIST || byte === OBJECT) this.#depth++;
      else if ((byte === LIST_END || byte === OBJECT_END) && this.#depth > 0) this.#depth--;
    }
    return chunk.length;
  }

  *#finishPiece(place: "name" | "field" | "item", ending: number): Generator<BodyPiece> {
    const bytes = this.#piece.take();
    if (place === "item") {
      this.#place = ending === COMMA ? "item" : this.#placeAfterList();
      this.#line++;
      yield { kind: "item", line: this.#line, bytes };
      return;
    }
    if (bytes === undefined) throw malformed("has a field besides `items` that is too long");
    if (place === "field") {
      this.#place = ending === COMMA ? "next name" : "end";
      yield { kind: "field", name: this.#name, bytes };
      return;
    }
    this.#name = bytes.toString("utf8");
    if (this.#namesSeen.has(this.#name)) throw malformed("has a field twice");
    this.#namesSeen.add(this.#name);
    this.#place = "colon";
  }
}

function malformed(how: string): DroverError {
  return new DroverError("malformed_body", `the body ${how}`);
}
