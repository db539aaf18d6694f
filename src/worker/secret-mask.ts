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
    const lines = values.flatMap((value) => value.split(/\r?\n/)).filter((line) => line.length >= MIN_SECRET_CHARS);
    // Longest first, so that a secret that contains another one is replaced whole.
    this.#secrets = [...new Set(lines)].sort((a, b) => b.length - a.length).map((line) => Buffer.from(line));
  }

  /**
   * What of the output so far may be shown. `afterGap`: output before this chunk is lost, so that a secret may have lost
   * its end there, and another one its beginning.
   */
  push(chunk: Buffer, { afterGap = false }: { afterGap?: boolean } = {}): Buffer {
    if (this.#secrets.length === 0) return chunk;
    const data = afterGap ? this.#withoutCutSecret(chunk) : Buffer.concat([this.#held, chunk]);
    const shown = this.#shownBytes(data);
    this.#held = data.subarray(shown);
    return this.#replace(data.subarray(0, shown));
  }

  /** The rest, at the end of the output. */
  flush(): Buffer {
    const rest = this.#held;
    this.#held = Buffer.alloc(0);
    return this.#replace(rest);
  }

  /** A whole text at once, whose beginning may have been cut off. */
  maskText(text: string): string {
    return this.#replace(this.#withoutCutSecret(Buffer.from(text))).toString();
  }

  /** Data that begins with the end of a secret, without that end. */
  #withoutCutSecret(data: Buffer): Buffer {
    let longest = 0;
    for (const secret of this.#secrets) {
      for (let length = Math.min(secret.length, data.length); length > longest; length--) {
        const isEnd = length >= MIN_SECRET_CHARS && data.subarray(0, length).equals(secret.subarray(-length));
        if (isEnd) longest = length;
      }
    }
    return longest === 0 ? data : Buffer.concat([MASK, data.subarray(longest)]);
  }

  #replace(data: Buffer): Buffer {
    const pieces: Buffer[] = [];
    let at = 0;
    for (let match = this.#matchFrom(data, at); match !== undefined; match = this.#matchFrom(data, at)) {
      pieces.push(data.subarray(at, match.start), MASK);
      at = match.end;
    }
    return pieces.length === 0 ? data : Buffer.concat([...pieces, data.subarray(at)]);
  }

  /** The leftmost secret, the longest one where several begin. */
  #matchFrom(data: Buffer, from: number): { start: number; end: number } | undefined {
    let best: { start: number; end: number } | undefined;
    for (const secret of this.#secrets) {
      const start = data.indexOf(secret, from);
      if (start >= 0 && (best === undefined || start < best.start)) best = { start, end: start + secret.length };
    }
    return best;
  }

  /** Up to where nothing is the beginning of a secret that may go on in the next chunk. */
  #shownBytes(data: Buffer): number {
    let shown = data.length;
    for (const secret of this.#secrets) {
      for (let length = Math.min(secret.length - 1, data.length); length > data.length - shown; length--) {
        if (data.subarray(data.length - length).equals(secret.subarray(0, length))) shown = data.length - length;
      }
    }
    // A secret that is whole and reaches over that point is not cut in two.
    for (
      let match = this.#matchFrom(data, 0);
      match !== undefined && match.start < shown;
      match = this.#matchFrom(data, match.end)
    ) {
      if (match.end > shown) return match.start;
    }
    return shown;
  }
}
