import { type CborValue, cborMap, encodeCbor, tagged } from "./cbor.ts";
import type { CorimShape } from "./corim.ts";
import type { SigningKey } from "./signing-key.ts";

const COSE_SIGN1_TAG = 18;
/** Header parameters: COSE's own, and that of CoRIM. */
const HEADER = { algorithm: 1, contentType: 3, keyId: 4, corimMeta: 8 } as const;
const META_SIGNER = 0;
const SIGNER_NAME = 0;
const NO_EXTERNAL_DATA = new Uint8Array();

/** What stands in the protected header beside the algorithm. */
export interface CoseSigner {
  readonly key: Pick<SigningKey, "coseAlgorithm" | "keyId" | "sign">;
  readonly name: string;
}

/** A manifest as COSE_Sign1 (RFC 9052). ECDSA takes chance into every signature; EdDSA and everything else does not. */
export function signCorim(corim: Uint8Array, { key, name }: CoseSigner, shape: CorimShape): Uint8Array {
  const header = protectedHeader({ key, name }, shape);
  const signature = key.sign(encodeCbor(["Signature1", header, NO_EXTERNAL_DATA, corim]));
  return encodeCbor(tagged(COSE_SIGN1_TAG, [header, cborMap([]), corim, signature]));
}

/** The encoded header that the signature covers. Cocos's has no key id. */
export function protectedHeader({ key, name }: CoseSigner, shape: CorimShape): Uint8Array {
  const signer: CborValue = cborMap([[SIGNER_NAME, name]]);
  return encodeCbor(
    cborMap([
      [HEADER.algorithm, key.coseAlgorithm],
      [HEADER.contentType, "application/rim+cbor"],
      [HEADER.keyId, shape === "draft" ? key.keyId : undefined],
      [HEADER.corimMeta, encodeCbor(cborMap([[META_SIGNER, signer]]))],
    ]),
  );
}
