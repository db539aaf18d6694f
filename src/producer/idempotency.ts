import { canonicalJson } from "../contract/canonical-json.ts";
import { DroverError } from "../contract/errors.ts";
import { IDEMPOTENCY_KEY_MAX_CHARS } from "../contract/limits.ts";
import { hasSecrets, type VmSecrets, type VmSpec } from "../contract/vm-request.ts";
import { digestKeyId, keyedDigest, plainDigest } from "../runtime/sealing.ts";
import type { SecretKeys } from "../runtime/secret-keys.ts";

/** A request in its two parts, as `splitRequest` gives it. */
export interface SplitRequest {
  readonly spec: VmSpec;
  readonly secrets: VmSecrets;
}

/** The header's value, checked; undefined when it was not sent. */
export function readIdempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const key = Array.isArray(header) ? header.join(",") : header;
  const fits = key.length <= IDEMPOTENCY_KEY_MAX_CHARS && /^[\x21-\x7e]+$/.test(key);
  if (fits) return key;
  const message = `must be 1 to ${IDEMPOTENCY_KEY_MAX_CHARS} visible ASCII characters without blanks, for example a UUID`;
  throw new DroverError("invalid_request", `Idempotency-Key: ${message}`, {
    problems: [{ field: "Idempotency-Key", message }],
  });
}

/** Digest of a request, secrets included: equal for the same request however its JSON was written. */
export function requestDigest(request: SplitRequest, keys: SecretKeys | undefined): string {
  const text = canonicalJson(request);
  return hasSecrets(request.secrets) && keys !== undefined
    ? keyedDigest(keys, keys.sealingId, text)
    : plainDigest(text);
}

/** Whether a digest made earlier, maybe with a key that no longer seals, is of this very request. */
export function isDigestOf(digest: string, request: SplitRequest, keys: SecretKeys | undefined): boolean {
  const keyId = digestKeyId(digest);
  if (keyId === undefined || keys === undefined || !keys.byId.has(keyId))
    return digest === requestDigest(request, keys);
  return digest === keyedDigest(keys, keyId, canonicalJson(request));
}
