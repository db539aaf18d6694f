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
/** Texts of ioredis and BullMQ, which have no codes. */
const CONNECTION_TEXT =
  /^(Connection is closed|Command timed out|Stream isn't writeable|Socket (closed|timeout)|Reached the max retries|Failed to refresh slots cache|None of startup nodes|Command aborted|All sentinels are unreachable|Too many Cluster redirections)|connect E[A-Z]+/;
/** Replies of a live Redis that serves nobody now. */
const UNABLE_REPLY = /^(LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOAUTH|WRONGPASS) /;
/** Replies of a live Redis to some commands, while others are served: mostly those that write. */
const REFUSAL = /^(OOM|READONLY|MISCONF|NOREPLICAS|NOPERM|UNBLOCKED) /;

/**
 * What an error says of Redis, in contrast to a mistake of ours: `away` (or silent, or unable to serve anybody), or
 * that it has `refused` this command while it serves others: then nothing was carried out.
 */
export function redisFaultOf(error: unknown): "away" | "refused" | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error.name === "MaxRetriesPerRequestError" || error.name === "ClusterAllFailedError") return "away";
  if ("code" in error && typeof error.code === "string" && CONNECTION_CODES.has(error.code)) return "away";
  if (CONNECTION_TEXT.test(error.message) || UNABLE_REPLY.test(error.message)) return "away";
  return REFUSAL.test(error.message) ? "refused" : undefined;
}

/** Whether an error is Redis's and not a mistake of ours. */
export function isRedisFault(error: unknown): boolean {
  return redisFaultOf(error) !== undefined;
}

/** Of an error of `redisUnavailable`: whether Redis was asked and may have done it. Else it surely has not. */
export function isInDoubt({ code, cause }: DroverError): boolean {
  return code === "redis_unavailable" && cause !== undefined && redisFaultOf(cause) !== "refused";
}

/** The client's view of such an error. */
export function redisUnavailable(cause?: unknown): DroverError {
  const options = cause === undefined ? {} : { cause };
  const again = `try again in ${REDIS_RETRY_AFTER_S} s`;
  if (cause instanceof Error && redisFaultOf(cause) === "refused") {
    const [code = ""] = cause.message.split(" ", 1);
    return new DroverError(
      "redis_unavailable",
      `Redis refuses this for now (${code}), and nothing was changed; ${again}`,
      options,
    );
  }
  return new DroverError(
    "redis_unavailable",
    `Redis does not answer; ${again}. A request that changes something may have been carried out: repeat it with the same Idempotency-Key.`,
    options,
  );
}
