import type { FastifyInstance } from "fastify";
import fp from "fastify-plugin";
import { DroverError } from "../contract/errors.ts";

/** No request nests deeper than a label in its labels; the rest is room for later. */
const JSON_MAX_DEPTH = 16;
const JSON_TYPE = /^application\/json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?(;\s*)?$/i;

/**
 * Reads JSON bodies and nothing else. Error texts of the parser are not passed on: they quote the body, which may hold
 * secrets.
 */
export const jsonBody = fp(
  async (app: FastifyInstance) => {
    const parsePoisonFree = app.getDefaultJsonParser("error", "error");
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body: Buffer, done) => {
      try {
        assertReadable(request.headers);
        const text = decodeUtf8(body);
        if (text.trim() === "") {
          done(null, undefined);
          return;
        }
        assertShallow(text);
        void parsePoisonFree(request, text, (error, value) =>
          error === null ? done(null, value) : done(malformed(error)),
        );
      } catch (error) {
        done(error instanceof Error ? error : malformed(error));
      }
    });
  },
  { name: "json-body" },
);

function assertReadable(headers: {
  readonly "content-type"?: string | undefined;
  readonly "content-encoding"?: string | undefined;
}): void {
  if (!JSON_TYPE.test(headers["content-type"] ?? "")) {
    throw new DroverError("unsupported_media_type", "send the body as Content-Type: application/json, in UTF-8");
  }
  const encoding = headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") {
    throw new DroverError("unsupported_media_type", "compressed bodies are not read; send it without Content-Encoding");
  }
}

function decodeUtf8(body: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(body);
  } catch (cause) {
    throw new DroverError("malformed_body", "the body is not UTF-8", { cause });
  }
}

/** Counts brackets outside of strings, before anything recursive sees the text. */
function assertShallow(text: string): void {
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
        throw new DroverError("malformed_body", `the body nests deeper than ${JSON_MAX_DEPTH} levels`);
    } else if (char === 0x7d || char === 0x5d) depth--;
  }
}

function malformed(error: unknown): DroverError {
  const position = error instanceof Error ? /position (\d+)/.exec(error.message)?.[1] : undefined;
  const where = position === undefined ? "" : ` (at character ${Number(position) + 1})`;
  return new DroverError("malformed_body", `the body is not valid JSON${where}`);
}
