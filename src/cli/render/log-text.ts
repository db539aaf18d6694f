import { z } from "zod";
import type { Paint } from "./paint.ts";
import { printable } from "./text-width.ts";

const LogLine = z.looseObject({ level: z.string(), time: z.string(), name: z.string(), msg: z.string().default("") });

const OBJECT_MAX_CHARS = 80;

/** Makes a line for people out of a log line in JSON. Nothing is cut: a logged command can be copied. */
export class LogText {
  readonly #paint: Paint;

  constructor(paint: Paint) {
    this.#paint = paint;
  }

  format(line: string): string {
    const parsed = LogLine.safeParse(parseJson(line));
    if (!parsed.success) return line;
    const { level, time, name, msg, ...fields } = parsed.data;
    if (msg === "request" && level === "info") return ""; // an open dashboard asks every few seconds
    const clock = new Date(time).toTimeString().slice(0, 8);
    const shown = Object.entries(fields).map(
      ([key, value]) => `${this.#paint.dim(`${key}=`)}${printable(fieldText(value))}`,
    );
    return `${[this.#paint.dim(clock), this.#level(level), this.#paint.dim(name), printable(msg), ...shown].join("  ")}\n`;
  }

  #level(level: string): string {
    const text = level.padEnd(5);
    if (level === "error" || level === "fatal") return this.#paint.red(text);
    return level === "warn" ? this.#paint.yellow(text) : this.#paint.dim(text);
  }
}

/** Of an error its message: the stack is for the JSON log. */
function fieldText(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "object" && value !== null && "message" in value && typeof value.message === "string")
    return value.message;
  const json = JSON.stringify(value);
  return json.length <= OBJECT_MAX_CHARS ? json : "{...}"; // the JSON log has it
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // not of our logger: shown as it is
  }
}
