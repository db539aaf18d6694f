import type { FastifyRequest, preHandlerAsyncHookHandler } from "fastify";
import { DroverError } from "../contract/errors.ts";

/** Whether an Accept header takes a media type. Without a header everything is taken (RFC 9110, 12.5.1). */
export function accepts(header: string | undefined, mediaType: string): boolean {
  if (header === undefined || header.trim() === "") return true;
  const [type = ""] = mediaType.split("/");
  const weights = [0, 0, 0]; // of the ranges that fit, by how exactly they fit
  const seen = [false, false, false];
  for (const range of header.split(",")) {
    const [name = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    const exactness = [mediaType, `${type}/*`, "*/*"].indexOf(name);
    if (exactness === -1) continue;
    const weight = parameters.find((parameter) => /^q\s*=/.test(parameter))?.replace(/^q\s*=\s*/, "");
    weights[exactness] = Math.max(weights[exactness] ?? 0, weight === undefined ? 1 : Number(weight) || 0);
    seen[exactness] = true;
  }
  const exactest = seen.indexOf(true);
  return exactest !== -1 && (weights[exactest] ?? 0) > 0;
}

/** A hook for routes that answer with this media type: other wishes get 406. */
export function requireAccept(mediaType: string): preHandlerAsyncHookHandler {
  return async (request: FastifyRequest) => {
    if (accepts(request.headers.accept, mediaType)) return;
    throw new DroverError("not_acceptable", `this route answers with ${mediaType}; the Accept header excludes it`);
  };
}
