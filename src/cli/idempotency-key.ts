import { IDEMPOTENCY_KEY_MAX_CHARS } from "../contract/limits.ts";
import { UsageError } from "./cli-error.ts";

/** The key of the command line, checked; undefined where none is given. */
export function checkKey(key: string | undefined): string | undefined {
  if (key === undefined) return undefined;
  if (/^[\x21-\x7e]+$/.test(key) && key.length <= IDEMPOTENCY_KEY_MAX_CHARS) return key;
  throw new UsageError(
    `--idempotency-key must have 1 to ${IDEMPOTENCY_KEY_MAX_CHARS} printable ASCII characters without blanks`,
  );
}
