import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { LaunchFailure } from "../contract/causes.ts";
import { VmSecrets } from "../contract/vm-request.ts";
import type { SecretKeys } from "./secret-keys.ts";

/**
 * Format of a sealed box: `v1.<key id>.<base64url of salt | nonce | ciphertext | tag>`. AES-256-GCM under a key that
 * is derived from the named key and the box's own random salt, so that the bound on random nonces under one key is
 * never near, however many boxes a key seals.
 */
const VERSION = "v1";
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Whose secrets they are. A box is bound to it: moved to another VM or owner it does not open. */
export interface SealedFor {
  readonly owner: string;
  readonly vmId: string;
}

/** Seals a VM's secrets for Redis. */
export function sealSecrets(keys: SecretKeys, sealedFor: SealedFor, secrets: VmSecrets): string {
  const keyId = keys.sealingId;
  const salt = randomBytes(SALT_BYTES);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", boxKey(keyNamed(keys, keyId), salt), nonce, {
    authTagLength: TAG_BYTES,
  });
  cipher.setAAD(boundTo(sealedFor, keyId));
  const ciphertext = Buffer.concat([cipher.update(JSON.stringify(secrets), "utf8"), cipher.final()]);
  return `${VERSION}.${keyId}.${Buffer.concat([salt, nonce, ciphertext, cipher.getAuthTag()]).toString("base64url")}`;
}

/** Id of the key that a box was sealed with; empty when it is no box. */
export function boxKeyId(box: string): string {
  return box.split(".")[1] ?? "";
}

/**
 * Opens a box on the launching host. Throws a {@link LaunchFailure} `secret_unreadable` that says why and holds
 * nothing of the box.
 */
export function openSealed(keys: SecretKeys | undefined, sealedFor: SealedFor, box: string): VmSecrets {
  const [version, keyId, encoded, ...rest] = box.split(".");
  if (version !== VERSION || keyId === undefined || encoded === undefined || rest.length > 0) {
    throw new LaunchFailure("secret_unreadable", "the sealed secrets have a format that this version does not know");
  }
  if (keys === undefined)
    throw new LaunchFailure(
      "secret_unreadable",
      `this host has no secrets key (the box was sealed with key "${keyId}")`,
    );
  const key = keys.byId.get(keyId);
  if (key === undefined) {
    const known = [...keys.byId.keys()].join(", ");
    throw new LaunchFailure(
      "secret_unreadable",
      `the secrets were sealed with key "${keyId}", which this host does not have (it has: ${known})`,
    );
  }
  const bytes = Buffer.from(encoded, "base64url");
  try {
    return VmSecrets.parse(JSON.parse(decrypt(key, bytes, boundTo(sealedFor, keyId))));
  } catch {
    // The error itself is dropped: one of JSON.parse or of the schema could quote what was decrypted.
    throw new LaunchFailure("secret_unreadable", "the sealed secrets were tampered with, or belong to another VM");
  }
}

function decrypt(key: KeyObject, box: Buffer, aad: Buffer): string {
  if (box.length < SALT_BYTES + NONCE_BYTES + TAG_BYTES) throw new RangeError("box too short");
  const salt = box.subarray(0, SALT_BYTES);
  const nonce = box.subarray(SALT_BYTES, SALT_BYTES + NONCE_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", boxKey(key, salt), nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(aad);
  decipher.setAuthTag(box.subarray(-TAG_BYTES));
  return Buffer.concat([
    decipher.update(box.subarray(SALT_BYTES + NONCE_BYTES, -TAG_BYTES)),
    decipher.final(),
  ]).toString("utf8");
}

/** A JSON array, because joined texts could be cut at another place. */
function boundTo({ owner, vmId }: SealedFor, keyId: string): Buffer {
  return Buffer.from(JSON.stringify([owner, vmId, VERSION, keyId]), "utf8");
}

function boxKey(key: KeyObject, salt: Buffer): Buffer {
  return Buffer.from(hkdfSync("sha256", key, salt, "drover sealed box v1", 32));
}

function keyNamed(keys: SecretKeys, keyId: string): KeyObject {
  const key = keys.byId.get(keyId);
  if (key === undefined) throw new RangeError(`no secrets key has the id "${keyId}"`);
  return key;
}

/**
 * Digest of a request that holds secrets, to tell a repeated request from another one with the same idempotency key.
 * Keyed, because a short secret could be guessed from a plain hash that stands in Redis.
 */
export function keyedDigest(keys: SecretKeys, keyId: string, text: string): string {
  const key = Buffer.from(hkdfSync("sha256", keyNamed(keys, keyId), Buffer.alloc(0), "drover request digest v1", 32));
  return `hmac-sha256:${keyId}:${createHmac("sha256", key).update(text, "utf8").digest("base64url")}`;
}

/** Digest of a request without secrets: all of it stands in clear in Redis anyway. */
export function plainDigest(text: string): string {
  return `sha256:${createHash("sha256").update(text, "utf8").digest("base64url")}`;
}

/** Id of the key that a digest was made with; undefined for a plain one. */
export function digestKeyId(digest: string): string | undefined {
  const [kind, keyId] = digest.split(":");
  return kind === "hmac-sha256" ? keyId : undefined;
}
