// biome-ignore-all lint/suspicious/noControlCharactersInRegex: control characters are what this file looks for

/**
 * What a guest writes is a stranger's text: on a screen its control sequences could move the cursor over other lines,
 * set the window's title or fill the clipboard. Colours are let through, all else that steers a terminal is dropped.
 */
export class ConsoleFilter {
  readonly #decoder = new TextDecoder();
  #rest = "";

  push(chunk: Uint8Array): string {
    const text = this.#rest + this.#decoder.decode(chunk, { stream: true });
    // A sequence may be cut by the chunk's end; a start without an end within bounds is no sequence.
    const start = text.lastIndexOf("\u001b");
    const open = start !== -1 && text.length - start < SEQUENCE_MAX_CHARS && !COMPLETE.test(text.slice(start));
    this.#rest = open ? text.slice(start) : "";
    return clean(open ? text.slice(0, start) : text);
  }
}

/** The same for a text that is there as a whole, as lines without colours. */
export function consoleLines(text: string): readonly string[] {
  const lines = clean(text)
    .replace(/\u001b\[[0-9;]*m/g, "")
    .replace(/\t/g, "    ")
    .split("\n")
    .map((line) => line.replace(/\r/g, ""));
  while (lines.at(-1) === "") lines.pop();
  return lines;
}

const SEQUENCE_MAX_CHARS = 256;
/** CSI, then OSC/DCS/PM/APC/SOS up to their end, then two-character sequences. */
const SEQUENCE = /\u001b\[[0-?]*[ -/]*[@-~]|\u001b[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)?|\u001b[ -/]*[0-Z\\^-~]/g;
const COMPLETE =
  /^(?:\u001b\[[0-?]*[ -/]*[@-~]|\u001b[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[ -/]*[0-OQ-WYZ\\`-~])/;
const COLOUR = /^\u001b\[[0-9;]*m$/;
/** All control characters but tab, line feed, carriage return and the escape of a colour. */
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001a\u001c-\u001f\u007f-\u009f]|\u001b(?!\[[0-9;]*m)/g;

function clean(text: string): string {
  return text.replace(SEQUENCE, (sequence) => (COLOUR.test(sequence) ? sequence : "")).replace(CONTROL, "");
}
