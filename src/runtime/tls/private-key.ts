import { createPrivateKey, type KeyObject, type X509Certificate } from "node:crypto";
import { TlsRefused } from "./pem-text.ts";

/** The key of a PEM text. Throws {@link TlsRefused}; nothing of the text gets into the message. */
export function parsePrivateKey(text: string): KeyObject {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(text)) {
    throw new TlsRefused(
      "the key is encrypted, and nobody is there to type its password. Decrypt it with `openssl pkey`, and keep the file at mode 0600.",
    );
  }
  if (!/-----BEGIN (RSA |EC )?PRIVATE KEY-----/.test(text)) {
    throw new TlsRefused('holds no private key (a part that begins with "-----BEGIN PRIVATE KEY-----").');
  }
  try {
    return createPrivateKey(text);
  } catch {
    // OpenSSL's own words are left out: they are of no help, and the text is secret.
    throw new TlsRefused("the key is damaged, or of a kind that TLS does not know. Give the PEM file as it was made.");
  }
}

/** Throws {@link TlsRefused} for a key of another certificate. */
export function assertPair(certificate: X509Certificate, key: KeyObject): void {
  if (certificate.checkPrivateKey(key)) return;
  throw new TlsRefused(
    "the key does not belong to the certificate. Give the key that the certificate was made with; in the certificate's file the server's own stands first.",
  );
}
