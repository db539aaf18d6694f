import { createHash } from "node:crypto";

/** Namespace of RFC 9562 for names that are object identifiers; Cocos takes it for names of products. */
export const OID_NAMESPACE = "6ba7b812-9dad-11d1-80b4-00c04fd430c8";

const VERSION_5 = 0x50;
const VARIANT = 0x80;

/** The version 5 UUID of a name: the same name in the same namespace always gives the same one. */
export function nameUuid(namespace: string, name: string): string {
  const bytes = createHash("sha1").update(uuidBytes(namespace)).update(name, "utf8").digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | VERSION_5, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | VARIANT, 8);
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** The 16 bytes of a UUID's text. */
export function uuidBytes(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll("-", ""), "hex");
}
