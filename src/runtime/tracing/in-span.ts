import { LaunchFailure } from "../../contract/causes.ts";
import { DroverError } from "../../contract/errors.ts";
import type { Span } from "./tracer.ts";

/** Does a piece of work within its span, which ends with it. Gives what the work gives, and throws what it throws. */
export async function inSpan<T>(span: Span, work: (span: Span) => Promise<T>): Promise<T> {
  try {
    const value = await work(span);
    span.end();
    return value;
  } catch (error) {
    span.end({ error: errorCode(error) });
    throw error;
  }
}

/** What a span says of an error: its code alone, since a message may hold what somebody has sent. */
function errorCode(error: unknown): string {
  if (error instanceof DroverError) return error.code;
  if (error instanceof LaunchFailure) return error.failure.code;
  return typeof error === "string" ? error : "internal"; // a stop rejects with its reason
}
