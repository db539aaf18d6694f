import { DroverError, ERROR_CATALOGUE, type ErrorCode, type FieldProblem } from "../contract/errors.ts";
import type { Problem } from "../contract/vm-view.ts";
import { isRedisFault, REDIS_RETRY_AFTER_S, redisUnavailable } from "./redis-fault.ts";

export const PROBLEM_TYPE = "application/problem+json; charset=utf-8";
/** Clients that were refused for a full house may come back after this. */
const BUSY_RETRY_AFTER_S = 5;

/** Codes by which Fastify refuses a request before a handler sees it, and ours for them. */
const FRAMEWORK_CODES: Readonly<Record<string, readonly [code: ErrorCode, detail: string]>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ["unsupported_media_type", "send the body as Content-Type: application/json"],
  FST_ERR_CTP_BODY_TOO_LARGE: ["body_too_large", "the body is larger than this route takes"],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ["malformed_body", "the body is not as long as Content-Length says"],
  FST_ERR_CTP_EMPTY_JSON_BODY: ["malformed_body", "the body is empty"],
  FST_ERR_BAD_URL: ["invalid_request", "the path holds a percent sign that is no valid escape"],
  FST_STATIC_FORBIDDEN_PATH: ["not_found", "there is no such page"],
  FST_ERR_MAX_PARAM_LENGTH: ["uri_too_long", "a part of the path is too long"],
};

/**
 * Any thrown thing as an error with a public code. What is not known becomes `internal_error`: its own text may hold
 * anything and stays in the log.
 */
export function toDroverError(error: unknown): DroverError {
  if (error instanceof DroverError) return error;
  if (isRedisFault(error)) return redisUnavailable(error);
  const known = error instanceof Error && "code" in error ? FRAMEWORK_CODES[String(error.code)] : undefined;
  if (known !== undefined) return new DroverError(known[0], known[1], { cause: error });
  return new DroverError("internal_error", "unknown error", { cause: error });
}

/** The RFC 9457 document of an error. Nothing of a 5xx error's own text but that of 503 leaves the server. */
export function toProblem(error: DroverError, request: { readonly id: string; readonly path: string }): Problem {
  const { status, title } = ERROR_CATALOGUE[error.code];
  const isPublic = status < 500 || status === 503 || status === 504;
  return {
    type: `urn:drover:error:${error.code}`,
    title,
    status,
    code: error.code,
    detail: isPublic ? error.message : `the log of this server says more under request id ${request.id}`,
    instance: request.path,
    requestId: request.id,
    ...(isPublic && error.problems.length > 0 ? { problems: error.problems.map(copyProblem) } : {}),
  };
}

function copyProblem({ field, message, line }: FieldProblem): FieldProblem {
  return line === undefined ? { field, message } : { field, message, line };
}

/** Seconds for Retry-After, where waiting helps. */
export function retryAfterS(code: ErrorCode): number | undefined {
  if (code === "redis_unavailable" || code === "shutting_down") return REDIS_RETRY_AFTER_S;
  return code === "too_many_requests" ? BUSY_RETRY_AFTER_S : undefined;
}
