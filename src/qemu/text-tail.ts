/**
 * The end of an output as text: at most `maxLines` lines and `maxBytes` bytes, whole characters only. Bytes that are no
 * UTF-8 show as U+FFFD. Carriage returns before a line feed are dropped, as a serial console sends them.
 */
export function textTail(output: Buffer, bound: { readonly maxLines: number; readonly maxBytes: number }): string {
  let start = Math.max(0, output.length - bound.maxBytes);
  // A cut inside a character: its other bytes (10xxxxxx, three at most) are skipped.
  for (let skipped = 0; start > 0 && skipped < 3 && isContinuation(output[start]); skipped += 1) start += 1;
  const lines = output.subarray(start).toString("utf8").replaceAll("\r\n", "\n").split("\n");
  const closing = lines.at(-1) === "" ? 1 : 0; // the text behind the last line feed is no line
  return lines.slice(-(bound.maxLines + closing)).join("\n");
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}
