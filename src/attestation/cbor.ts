import { encode, rfc8949EncodeOptions, Tagged } from "cborg";

/** What is encoded: maps have integer or text keys. */
export type CborValue =
  | number
  | string
  | Uint8Array
  | Tagged
  | readonly CborValue[]
  | ReadonlyMap<number | string, CborValue>;

/** The deterministic encoding of RFC 8949: definite lengths, keys in the order of their bytes. */
export function encodeCbor(value: CborValue): Uint8Array {
  return encode(value, rfc8949EncodeOptions);
}

export function tagged(tag: number, value: CborValue): Tagged {
  return new Tagged(tag, value);
}

/** A map without the entries whose value is undefined. */
export function cborMap(entries: readonly (readonly [number | string, CborValue | undefined])[]): CborValue {
  return new Map(entries.flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const])));
}
