import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { DroverError } from "../contract/errors.ts";

const VARIABLE = "MANAGER_CORIM_SIGNING_KEY";
const KEY_MAX_BYTES = 64 * 1024;

/** Algorithms of COSE (RFC 9053) by the key's own kind; the hash belongs to the curve. */
const KINDS = {
  "P-256": { coseAlgorithm: -7, hash: "sha256" },
  "P-384": { coseAlgorithm: -35, hash: "sha384" },
  Ed25519: { coseAlgorithm: -8, hash: null },
} as const;

const CURVES: Readonly<Record<string, keyof typeof KINDS>> = { prime256v1: "P-256", secp384r1: "P-384" };

/** A key that signs attestation policies. */
export interface SigningKey {
  readonly kind: keyof typeof KINDS;
  /** Number of the algorithm in COSE's registry. */
  readonly coseAlgorithm: number;
  /** SHA-256 of the public key in DER (SubjectPublicKeyInfo): by it a verifier finds the key. */
  readonly keyId: Buffer;
  /** What is odd with the key's file, for the log. */
  readonly warning: string | undefined;
  /** The signature as COSE has it: r and s at full length, or EdDSA's own bytes. */
  sign(bytes: Uint8Array): Buffer;
}

/**
 * Reads the private key at `path`: PEM, PKCS#8 or SEC1, on P-256, P-384 or Ed25519. Throws `config_invalid`, which
 * names the variable and never shows what is in the file.
 */
export async function loadSigningKey(path: string): Promise<SigningKey> {
  const { pem, mode } = await readKeyFile(path);
  const key = parse(pem, path);
  const kind = kindOf(key);
  if (kind === undefined) {
    const has = key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType ?? "unknown";
    throw invalid(`${path} holds a key of kind ${has}, and policies are signed with P-256, P-384 or Ed25519`);
  }
  const { coseAlgorithm, hash } = KINDS[kind];
  const publicKey = createPublicKey(key).export({ type: "spki", format: "der" });
  return {
    kind,
    coseAlgorithm,
    keyId: createHash("sha256").update(publicKey).digest(),
    warning:
      (mode & 0o077) === 0
        ? undefined
        : `${VARIABLE}: others may read ${path} (mode ${octal(mode)}); chmod 600 ${path}`,
    sign: (bytes) => sign(hash, bytes, { key, dsaEncoding: "ieee-p1363" }),
  };
}

async function readKeyFile(path: string): Promise<{ readonly pem: Buffer; readonly mode: number }> {
  try {
    const found = await stat(path);
    if (!found.isFile()) throw new Error("it is no regular file");
    const { size, mode } = found;
    if (size > KEY_MAX_BYTES) throw new Error(`it has ${size} bytes, which no key has`);
    return { pem: await readFile(path), mode: mode & 0o777 };
  } catch (error) {
    throw invalid(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function parse(pem: Buffer, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // The library's own words may quote from the file.
    throw invalid(`${path} holds no private key in PEM that can be read without a passphrase`);
  }
}

function kindOf(key: KeyObject): keyof typeof KINDS | undefined {
  if (key.asymmetricKeyType === "ed25519") return "Ed25519";
  if (key.asymmetricKeyType !== "ec") return undefined;
  return CURVES[key.asymmetricKeyDetails?.namedCurve ?? ""];
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

function invalid(problem: string): DroverError {
  const message = `${problem}. Make one with \`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem\`, or unset ${VARIABLE} for unsigned policies.`;
  return new DroverError("config_invalid", `${VARIABLE}: ${message}`, { problems: [{ field: VARIABLE, message }] });
}
