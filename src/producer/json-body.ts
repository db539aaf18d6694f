import type { FastifyInstance } from "fastify";
import fp from "fastify-plugin";
import { DroverError } from "../contract/errors.ts";
import { jsonReader } from "./json-text.ts";

export const JSON_TYPE = /^application\/json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?(;\s*)?$/i;

/** Reads JSON bodies and nothing else. */
export const jsonBody = fp(
  async (app: FastifyInstance) => {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body: Buffer, done) => {
      try {
        assertReadable(request.headers, { types: [JSON_TYPE], wanted: "application/json" });
        done(null, jsonReader(app, request)(body, "the body"));
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    });
  },
  { name: "json-body" },
);

/** Throws `unsupported_media_type` for a body of another type, in another character set, or compressed. */
export function assertReadable(
  headers: { readonly "content-type"?: string | undefined; readonly "content-encoding"?: string | undefined },
  { types, wanted }: { readonly types: readonly RegExp[]; readonly wanted: string },
): void {
  if (!types.some((type) => type.test(headers["content-type"] ?? "")))
    throw new DroverError("unsupported_media_type", `send the body as Content-Type: ${wanted}, in UTF-8`);
  const encoding = headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") {
    throw new DroverError("unsupported_media_type", "compressed bodies are not read; send it without Content-Encoding");
  }
}
