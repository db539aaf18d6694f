import { createHash } from "node:crypto";
import { canonicalJson } from "../contract/canonical-json.ts";
import { decodeFileBytes, type VmSpec } from "../contract/vm-request.ts";

const FILE_FIELDS = ["agentCvmServerCaCert", "agentCvmClientCert"] as const;
const PEM_START = "-----BEGIN ";

/**
 * The text whose digest is a guest's host data: every public field that the client sent, as canonical JSON. Secrets are
 * no part of it: whoever sees the digest could try out short ones.
 */
export function hostDataText(spec: VmSpec): string {
  const files = FILE_FIELDS.flatMap((field) => {
    const value = spec[field];
    return value === undefined ? [] : [[field, fileText(value)]];
  });
  return canonicalJson({ ...spec, ...Object.fromEntries(files) });
}

/** SHA-256 of {@link hostDataText}: the 32 bytes of HOST_DATA in the guest's attestation report. */
export function hostDataOf(spec: VmSpec): Buffer {
  return createHash("sha256").update(hostDataText(spec), "utf8").digest();
}

/** One text for the same bytes, however they were sent: PEM from where it begins, anything else as base64. */
function fileText(value: string): string {
  const bytes = decodeFileBytes(value);
  const pem = bytes.subarray(Math.max(0, bytes.indexOf(PEM_START)));
  const text = pem.toString("utf8");
  return text.startsWith(PEM_START) && Buffer.from(text, "utf8").equals(pem) ? text : bytes.toString("base64");
}
