import { createHash } from "node:crypto";
import { canonicalJson } from "../../contract/canonical-json.ts";
import { digestKeyId, keyedDigest, plainDigest } from "../../runtime/sealing.ts";
import type { SecretKeys } from "../../runtime/secret-keys.ts";
import type { SplitRequest } from "../idempotency.ts";

/**
 * Digest of a whole batch, made while it comes in: equal for the same requests in the same order under the same head,
 * however their JSON was written. Like that of a single request it is keyed where there are secrets.
 */
export class BatchDigest {
  readonly #hash = createHash("sha256");

  add(part: SplitRequest | object): void {
    this.#hash.update(canonicalJson(part)).update("\n"); // canonical JSON holds no line feed
  }

  /** The digest, and whether one that was made earlier, maybe with another key, is of this very batch. */
  finish({ keys, hasSecrets }: { readonly keys: SecretKeys | undefined; readonly hasSecrets: boolean }): {
    readonly digest: string;
    readonly isOf: (earlier: string) => boolean;
  } {
    const text = this.#hash.digest("base64url");
    const make = (keyId: string | undefined) =>
      keys === undefined || keyId === undefined ? plainDigest(text) : keyedDigest(keys, keyId, text);
    const digest = make(hasSecrets ? keys?.sealingId : undefined);
    const isOf = (earlier: string) => {
      const keyId = digestKeyId(earlier);
      return earlier === (keyId !== undefined && keys?.byId.has(keyId) === true ? make(keyId) : digest);
    };
    return { digest, isOf };
  }
}
