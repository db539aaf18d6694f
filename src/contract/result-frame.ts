import { RESULT_MAX_BYTES } from "./limits.ts";

/**
 * What a guest hands back over the virtio-serial port `drover.result`:
 *
 *     drover-result exit=<0-255> length=<bytes>\n<bytes>\n
 *
 * The last complete message counts. A port that was flooded keeps only its last bytes, so reading starts at the first
 * header that is followed by a whole message; everything else is skipped.
 */
export interface GuestResult {
  readonly exitCode: number;
  readonly payload: Buffer;
}

const HEADER = /drover-result exit=(\d{1,3}) length=(\d{1,6})\n/g;

/** The last complete message in what was read from the port, or undefined. Never throws, whatever the guest wrote. */
export function lastGuestResult(stream: Buffer): GuestResult | undefined {
  const text = stream.toString("latin1"); // one char per byte, so that offsets are byte offsets
  let last: GuestResult | undefined;
  HEADER.lastIndex = 0;
  for (let match = HEADER.exec(text); match !== null; match = HEADER.exec(text)) {
    const exitCode = Number(match[1]);
    const length = Number(match[2]);
    const start = HEADER.lastIndex;
    const complete = exitCode <= 255 && length <= RESULT_MAX_BYTES && text[start + length] === "\n";
    if (!complete) continue;
    last = { exitCode, payload: Buffer.from(stream.subarray(start, start + length)) };
    HEADER.lastIndex = start + length + 1;
  }
  return last;
}
