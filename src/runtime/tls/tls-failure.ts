import { errnoOf } from "../errno.ts";

/** Why a connection could not be made, in words that lead to the setting. */
export interface TlsFailure {
  readonly reason: string;
  /** What mends it: the CAs that are trusted, the certificate that this end shows, the peer's own, or the URL. */
  readonly mend: "ca" | "own-certificate" | "peer" | "scheme";
}

const FAILURES: readonly (readonly [pattern: RegExp, failure: TlsFailure])[] = [
  [
    /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT|UNABLE_TO_GET_ISSUER_CERT_LOCALLY|CERT_SIGNATURE_FAILURE|CERT_UNTRUSTED)$/,
    { reason: "its certificate is of a CA that is not trusted here", mend: "ca" },
  ],
  [/^CERT_HAS_EXPIRED$/, { reason: "its certificate has expired", mend: "peer" }],
  [/^CERT_NOT_YET_VALID$/, { reason: "its certificate is not valid yet", mend: "peer" }],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, { reason: "its certificate is made for another name", mend: "peer" }],
  [
    /^ERR_SSL_(TLSV13_ALERT_CERTIFICATE_REQUIRED|TLSV1_ALERT_UNKNOWN_CA|SSLV3_ALERT_(CERTIFICATE_(UNKNOWN|EXPIRED|REVOKED)|BAD_CERTIFICATE|HANDSHAKE_FAILURE|UNSUPPORTED_CERTIFICATE))$/,
    { reason: "it asks for a certificate of a CA that it knows, and got none that it takes", mend: "own-certificate" },
  ],
  [/^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)$/, { reason: "it does not speak TLS", mend: "scheme" }],
  [
    /^ERR_SSL_(UNSUPPORTED_PROTOCOL|NO_PROTOCOLS_AVAILABLE|TLSV1_ALERT_PROTOCOL_VERSION|NO_CIPHERS_AVAILABLE)$/,
    { reason: "it speaks no TLS of version 1.2 or newer", mend: "peer" },
  ],
];

/** What is wrong with TLS, where it is TLS that is wrong; looks below `cause`, where fetch hides it. */
export function tlsFailureOf(error: unknown): TlsFailure | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const code = sslCodeOf(at);
    const found = FAILURES.find(([pattern]) => pattern.test(code));
    if (found !== undefined) return found[1];
  }
  return undefined;
}

/** Node names OpenSSL's reasons by a code, but says EPROTO while it writes; then the reason stands in the message. */
function sslCodeOf(error: Error): string {
  const reason = /SSL routines:[^:]*:([^:\n]+)/.exec(error.message)?.[1];
  const code = errnoOf(error) ?? "";
  return code === "EPROTO" && reason !== undefined ? `ERR_SSL_${reason.toUpperCase().replaceAll(" ", "_")}` : code;
}
