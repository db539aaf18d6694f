import { DroverError } from "../contract/errors.ts";

/** What a client is told to wait before it asks again. */
export const REDIS_RETRY_AFTER_S = 1;

const CONNECTION_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
]);
/** Texts of ioredis and BullMQ, which have no codes, and the replies by which a live Redis says that it cannot serve. */
const CONNECTION_TEXT =
  /^(Connection is closed|Command timed out|Stream isn't writeable|Socket (closed|timeout)|Reached the max retries|Failed to refresh slots cache|None of startup nodes|Command aborted)|connect E[A-Z]+/;
const UNABLE_REPLY =
  /^(LOADING|BUSY|MASTERDOWN|READONLY|CLUSTERDOWN|TRYAGAIN|OOM|MISCONF|NOREPLICAS|NOAUTH|WRONGPASS|NOPERM) /;

/** Whether an error means that Redis is away, silent, or unable to serve, in contrast to a mistake of ours. */
export function isRedisFault(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error.name === "MaxRetriesPerRequestError" || error.name === "ClusterAllFailedError") return true;
  if ("code" in error && typeof error.code === "string" && CONNECTION_CODES.has(error.code)) return true;
  return CONNECTION_TEXT.test(error.message) || UNABLE_REPLY.test(error.message);
}

/** The client's view of such an error. */
export function redisUnavailable(cause?: unknown): DroverError {
  return new DroverError(
    "redis_unavailable",
    `Redis does not answer; try again in ${REDIS_RETRY_AFTER_S} s. A request that changes something may have been carried out: repeat it with the same Idempotency-Key.`,
    cause === undefined ? {} : { cause },
  );
}
