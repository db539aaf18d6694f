const MASK = Buffer.from("[secret]");
/** Shorter values ("1", "eu") would make any output unreadable and are no secret worth the name. */
const MIN_SECRET_CHARS = 6;

/**
 * Takes secret values out of what a guest or QEMU prints, before it is kept or sent anywhere: the kernel prints its
 * command line, and with it KBS parameters. A value that is cut by the edge of a chunk is found as well, because
 * what could be the beginning of a secret is held back until more comes.
 */
export class SecretMask {
  readonly #secrets: readonly Buffer[];
  #held: Buffer = Buffer.alloc(0);

  constructor(values: readonly string[]) {
    const lines = values.flatMap((value) => value.split("\n")).filter((line) => line.length >= MIN_SECRET_CHARS);
    // Longest first, so that a secret that contains another one is replaced whole.
    this.#secrets = [...new Set(lines)].sort((a, b) => b.length - a.length).map((line) => Buffer.from(line));
  }

  /** What of the output so far may be shown. */
  push(chunk: Buffer): Buffer {
    if (this.#secrets.length === 0) return chunk;
    const masked = this.#replace(Buffer.concat([this.#held, chunk]));
    const keep = this.#possibleStart(masked);
    this.#held = masked.subarray(masked.length - keep);
    return masked.subarray(0, masked.length - keep);
  }

  /** The rest, at the end of the output. */
  flush(): Buffer {
    const rest = this.#held;
    this.#held = Buffer.alloc(0);
    return rest;
  }

  /** A whole text at once. */
  maskText(text: string): string {
    return this.#replace(Buffer.from(text)).toString();
  }

  #replace(data: Buffer): Buffer {
    let result = data;
    for (const secret of this.#secrets) {
      for (let at = result.indexOf(secret); at >= 0; at = result.indexOf(secret, at + MASK.length)) {
        result = Buffer.concat([result.subarray(0, at), MASK, result.subarray(at + secret.length)]);
      }
    }
    return result;
  }

  /** Length of the longest end of `data` that a secret begins with. */
  #possibleStart(data: Buffer): number {
    let longest = 0;
    for (const secret of this.#secrets) {
      for (let length = Math.min(secret.length - 1, data.length); length > longest; length--) {
        if (data.subarray(data.length - length).equals(secret.subarray(0, length))) longest = length;
      }
    }
    return longest;
  }
}
