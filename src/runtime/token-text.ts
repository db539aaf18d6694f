import { createHash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

/**
 * A bearer token as its owner has it: `drover_<id>_<secret><checksum>`. The prefix is for scanners that look for lost
 * secrets, the checksum tells a mistyped token from an unknown one without asking anybody.
 */
const FORM = /^drover_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/;

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SECRET_BYTES = 32;
const SECRET_CHARS = 43;
const CHECKSUM_CHARS = 6;
const ID_CHARS = 8;
const ID_BYTES = 5;

/** A new token: 256 random bits, and the id under which it is known. */
export function newTokenText(): { readonly id: string; readonly text: string } {
  const id = base62(randomBytes(ID_BYTES), ID_CHARS);
  const body = `drover_${id}_${base62(randomBytes(SECRET_BYTES), SECRET_CHARS)}`;
  return { id, text: `${body}${checksum(body)}` };
}

/** The public id in a token; undefined for a text that cannot be one. */
export function tokenIdOf(text: string): string | undefined {
  const [, id, , sum] = FORM.exec(text) ?? [];
  return id !== undefined && sum === checksum(text.slice(0, -CHECKSUM_CHARS)) ? id : undefined;
}

/** SHA-256 of a token. The token holds 256 random bits, so nothing slower is needed. */
export function tokenDigest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** The id under which the role of a certificate's subject is kept: always the same for the same subject. */
export function subjectId(subject: string): string {
  return `c${base62(createHash("sha256").update(subject).digest().subarray(0, 8), 11)}`;
}

function checksum(body: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(body));
  return base62(bytes, CHECKSUM_CHARS);
}

function base62(bytes: Uint8Array, chars: number): string {
  let rest = BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  let text = "";
  for (let at = 0; at < chars; at++) {
    text = `${DIGITS[Number(rest % 62n)]}${text}`;
    rest /= 62n;
  }
  return text;
}
