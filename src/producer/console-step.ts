import type { ConsoleWindow } from "../queue/live-console.ts";

/** How far a reader has got. */
export interface ConsolePosition {
  /** The launch whose console is being read. */
  readonly epoch: number;
  /** Absolute offset in it after the last byte that was written. */
  readonly offset: number;
  /** The last bytes that were written of it, to find the place again in the lines that are kept when it is over. */
  readonly recent: Buffer;
  /** The kept lines that were written last; they stay until a later launch ends. */
  readonly writtenTail: string | undefined;
}

export interface ConsoleLook {
  readonly epoch: number;
  /** The live window; undefined when no launch writes one. */
  readonly window: ConsoleWindow | undefined;
  /** The kept last lines of a launch that is over. */
  readonly tail: string | undefined;
  /** How many bytes a reader that has had nothing yet begins with at most. */
  readonly firstBytes: number;
}

export interface ConsoleStep {
  readonly position: ConsolePosition;
  readonly pieces: readonly Buffer[];
}

/** Long enough to be found only once in a console, short enough to be kept for every reader. */
const RECENT_BYTES = 512;
const NOTHING = Buffer.alloc(0);

/** What a reader gets next, from what Redis holds now. Pure: the caller reads and writes. */
export function consoleStep(position: ConsolePosition | undefined, look: ConsoleLook): ConsoleStep {
  if (position === undefined) return firstStep(look);
  const { epoch, window, tail } = look;
  const pieces: Buffer[] = [];
  let at = position;
  const isOver = window === undefined || epoch !== at.epoch || at.offset > window.startOffset + window.data.length;
  if (isOver) {
    // Lines that were written already stand here again when a launch ended before it printed anything.
    const isNew = tail !== undefined && (tail !== at.writtenTail || at.offset > 0);
    if (isNew) pieces.push(...restOfTail(at.recent, Buffer.from(tail, "utf8")));
    if (isNew || epoch !== at.epoch) at = { epoch, offset: 0, recent: NOTHING, writtenTail: tail ?? at.writtenTail };
  }
  if (window === undefined) return { position: at, pieces };
  const live = fromWindow(at, window);
  return { position: live.position, pieces: [...pieces, ...live.pieces] };
}

/** A reader that comes late begins with the last bytes; one that is there before the launch gets all of it. */
function firstStep({ epoch, window, tail, firstBytes }: ConsoleLook): ConsoleStep {
  const data = window?.data ?? Buffer.from(tail ?? "", "utf8");
  const first = data.subarray(Math.max(0, data.length - firstBytes));
  const offset = window === undefined ? 0 : window.startOffset + window.data.length;
  return {
    position: {
      epoch,
      offset,
      recent: window === undefined ? NOTHING : recentOf(data),
      writtenTail: window === undefined ? tail : undefined,
    },
    pieces: nonEmpty(first),
  };
}

function fromWindow(position: ConsolePosition, { startOffset, data }: ConsoleWindow): ConsoleStep {
  const lost = Math.max(0, startOffset - position.offset);
  const fresh = data.subarray(Math.max(0, position.offset - startOffset));
  return {
    position: { ...position, offset: startOffset + data.length, recent: recentOf(position.recent, fresh) },
    pieces: [...(lost > 0 ? [lostNotice(`${lost} bytes`)] : []), ...nonEmpty(fresh)],
  };
}

/** What stands in the kept lines after the bytes that were written last. */
function restOfTail(recent: Buffer, tail: Buffer): Buffer[] {
  const place = asKept(recent);
  if (place.length === 0) return nonEmpty(tail);
  const at = tail.lastIndexOf(place);
  return at === -1 ? [lostNotice("some bytes"), ...nonEmpty(tail)] : nonEmpty(tail.subarray(at + place.length));
}

/** A serial console ends its lines with CR LF; the lines that are kept of it end with LF (see text-tail.ts). */
function asKept(output: Buffer): Buffer {
  return Buffer.from(output.toString("latin1").replaceAll("\r\n", "\n").replace(/\r$/, ""), "latin1");
}

/** A copy: a view would keep the whole window in memory. */
function recentOf(...parts: readonly Buffer[]): Buffer {
  return Buffer.from(Buffer.concat(parts).subarray(-RECENT_BYTES));
}

function nonEmpty(data: Buffer): Buffer[] {
  return data.length > 0 ? [data] : [];
}

function lostNotice(what: string): Buffer {
  return Buffer.from(`\n[drover: ${what} of the console were lost here]\n`);
}
