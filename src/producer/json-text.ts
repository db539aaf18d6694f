import type { FastifyInstance, FastifyRequest } from "fastify";
import { DroverError } from "../contract/errors.ts";

/** No request nests deeper than a label in its labels; the rest is room for later. */
const JSON_MAX_DEPTH = 16;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/**
 * Reads JSON that somebody sent; undefined where there is nothing but blanks. `what` is its name in messages. Throws
 * `malformed_body`. Texts of the parser's own errors are not passed on: they quote what was sent, which may hold secrets.
 */
export type ReadJson = (bytes: Uint8Array, what: string) => unknown;

/** The reader of an app; it refuses what would poison a prototype. */
export function jsonReader(app: FastifyInstance, request: FastifyRequest): ReadJson {
  const parsePoisonFree = app.getDefaultJsonParser("error", "error");
  return (bytes, what) => {
    const text = decodeUtf8(bytes, what);
    if (text.trim() === "") return undefined;
    assertShallow(text, what);
    const outcome: { error: unknown; value?: unknown } = { error: undefined };
    void parsePoisonFree(request, text, (error, value) => Object.assign(outcome, { error, value })); // at once
    if (outcome.error !== null) throw malformed(outcome.error, what);
    return outcome.value;
  };
}

function decodeUtf8(bytes: Uint8Array, what: string): string {
  try {
    return strictUtf8.decode(bytes);
  } catch (cause) {
    throw new DroverError("malformed_body", `${what} is not UTF-8`, { cause });
  }
}

/** Counts brackets outside of strings, before anything recursive sees the text. */
function assertShallow(text: string, what: string): void {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (inString) {
      if (char === 0x5c)
        i++; // backslash: the next character is no end of the string
      else if (char === 0x22) inString = false;
    } else if (char === 0x22) inString = true;
    else if (char === 0x7b || char === 0x5b) {
      depth++;
      if (depth > JSON_MAX_DEPTH)
        throw new DroverError("malformed_body", `${what} nests deeper than ${JSON_MAX_DEPTH} levels`);
    } else if (char === 0x7d || char === 0x5d) depth--;
  }
}

function malformed(error: unknown, what: string): DroverError {
  const position = error instanceof Error ? /position (\d+)/.exec(error.message)?.[1] : undefined;
  const where = position === undefined ? "" : ` (at character ${Number(position) + 1})`;
  return new DroverError("malformed_body", `${what} is not valid JSON${where}`);
}
