import { readFileSync, statSync } from "node:fs";
import { errnoOf } from "../errno.ts";

/** A text that TLS cannot use; the message says why and the way out, and never shows what the text holds. */
export class TlsRefused extends Error {
  override readonly name = "TlsRefused";
}

export interface PemText {
  readonly text: string;
  /** Permission bits of the file that it came from; undefined for text that was given as it stands. */
  readonly mode: number | undefined;
}

/** Far above any chain of certificates; a path that leads to something endless must not hold up a start. */
const PEM_MAX_BYTES = 1_048_576;

/** The text of a variable that holds the path of a PEM file or the PEM text itself. Throws {@link TlsRefused}. */
export function readPemText(value: string): PemText {
  if (value.includes("-----BEGIN ")) return { text: value, mode: undefined };
  try {
    const file = statSync(value);
    if (!file.isFile()) throw new TlsRefused(`${shownPath(value)} is not a file. Name a PEM file.`);
    if (file.size > PEM_MAX_BYTES) throw new TlsRefused(`${shownPath(value)} is larger than any PEM file.`);
    return { text: readFileSync(value, "utf8"), mode: file.mode & 0o777 };
  } catch (error) {
    if (error instanceof TlsRefused) throw error;
    throw new TlsRefused(
      `${shownPath(value)} cannot be read (${errnoOf(error) ?? "no file"}). Name a PEM file that this user may read, or give the PEM text itself.`,
      { cause: error },
    );
  }
}

/** What looks like a path may be shown; anything else may be a key that was put there without its PEM lines. */
function shownPath(value: string): string {
  const isPath = /^[./~][^\r\n]{0,255}$/.test(value) || /^[\w./~-]{1,250}\.(pem|crt|cer|key)$/.test(value);
  return isPath ? `the file ${value}` : "the value (not shown), taken as the path of a file,";
}
