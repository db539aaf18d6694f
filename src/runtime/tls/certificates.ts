import { type KeyObject, X509Certificate } from "node:crypto";
import { TlsRefused } from "./pem-text.ts";

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
/** What a certificate may be used for, by OID; one that names no use is good for all. */
const USES = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" } as const;
const RSA_MIN_BITS = 2_048;

/** All certificates of a PEM text, in its order. Throws {@link TlsRefused} where there is none or one is damaged. */
export function parseCertificates(text: string): readonly [X509Certificate, ...X509Certificate[]] {
  const [first, ...more] = (text.match(PEM_BLOCK) ?? []).map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw new TlsRefused(`certificate ${index + 1} of it is damaged. Give the PEM file as the CA made it.`, {
        cause,
      });
    }
  });
  if (first === undefined) {
    throw new TlsRefused('holds no certificate (a part that begins with "-----BEGIN CERTIFICATE-----").');
  }
  return [first, ...more];
}

/** The certificate's bounds in time, as Unix ms. */
export function validity(certificate: X509Certificate): { readonly fromMs: number; readonly toMs: number } {
  return { fromMs: Date.parse(certificate.validFrom), toMs: Date.parse(certificate.validTo) };
}

/** Throws {@link TlsRefused} for a certificate that no peer would take today: out of its time, or with a weak key. */
export function assertUsable(certificate: X509Certificate, nowMs: number): void {
  const { fromMs, toMs } = validity(certificate);
  if (nowMs > toMs) {
    throw new TlsRefused(
      `the certificate expired at ${isoOf(toMs)}. Renew it; running listeners take the new one by themselves.`,
    );
  }
  if (nowMs < fromMs) {
    throw new TlsRefused(`the certificate is not valid before ${isoOf(fromMs)}. Check this machine's clock, or wait.`);
  }
  assertStrong(certificate.publicKey);
}

/** Undefined where the certificate may be used so, else what peers will say. */
export function wrongUse(certificate: X509Certificate, use: keyof typeof USES): string | undefined {
  // Node names the extended key usages `keyUsage`; its types leave out that there may be none.
  const uses: readonly string[] | undefined = certificate.keyUsage;
  if (uses === undefined || uses.length === 0 || uses.includes(USES[use])) return undefined;
  return `the certificate is not made for a ${use} (its extended key usage lacks ${use}Auth): most peers refuse it`;
}

/**
 * The chain with what is missing of it between its last certificate and a root. Peers know the root; the ones between
 * they must be sent. Undefined where none of `authorities` has signed the chain.
 */
export function completedChain(
  chain: readonly [X509Certificate, ...X509Certificate[]],
  authorities: readonly X509Certificate[],
): readonly X509Certificate[] | undefined {
  const complete = [...chain];
  let last = complete.at(-1) ?? chain[0];
  let isSigned = authorities.some((authority) => authority.fingerprint256 === last.fingerprint256);
  for (;;) {
    const issuer = authorities.find((authority) => hasSigned(authority, last));
    if (issuer === undefined || complete.some(({ fingerprint256 }) => fingerprint256 === issuer.fingerprint256)) break;
    isSigned = true;
    if (hasSigned(issuer, issuer)) break;
    complete.push(issuer);
    last = issuer;
  }
  return isSigned ? complete : undefined;
}

function hasSigned(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function assertStrong({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): void {
  const bits = asymmetricKeyDetails?.modulusLength;
  if (asymmetricKeyType?.startsWith("rsa") === true && bits !== undefined && bits < RSA_MIN_BITS) {
    throw new TlsRefused(
      `its RSA key has ${bits} bits, which is too weak. Make one of ${RSA_MIN_BITS} bits or more, or an EC key.`,
    );
  }
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
