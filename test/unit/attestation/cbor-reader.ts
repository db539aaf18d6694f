import { decode, Tag } from "cbor2";

/** What cbor2 reads, which shares no code with the encoder under test. Maps with integer keys become Maps. */
export function read(bytes: Uint8Array): unknown {
  return decode(bytes, { preferMap: true });
}

/** Asserts the tag and gives what it is around. */
export function untag(value: unknown, tag: number): unknown {
  if (!(value instanceof Tag) || Number(value.tag) !== tag) throw new Error(`no tag ${tag}: ${String(value)}`);
  return value.contents;
}

/** One step down for each key, through maps and arrays. */
export function at(value: unknown, ...keys: readonly (number | string)[]): unknown {
  return keys.reduce<unknown>((inside, key) => {
    if (inside instanceof Map) return inside.get(key);
    if (Array.isArray(inside) && typeof key === "number") return inside[key];
    throw new Error(`nothing below ${key}`);
  }, value);
}

export function hex(value: unknown): string {
  if (!(value instanceof Uint8Array)) throw new Error("no bytes");
  return Buffer.from(value).toString("hex");
}

/** The CoMID of a manifest in the shape of the draft. */
export function comidOf(corim: unknown): unknown {
  const bytes = untag(at(untag(corim, 501), 1, 0), 506);
  if (!(bytes instanceof Uint8Array)) throw new Error("no CoMID");
  return read(bytes);
}
