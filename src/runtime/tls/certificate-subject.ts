import type { Socket } from "node:net";
import { type PeerCertificate, TLSSocket } from "node:tls";

/** The parts of a subject that are written first, in this order; all others follow by their names. */
export const FIRST_PARTS: readonly string[] = ["CN", "O", "OU", "L", "ST", "C", "emailAddress"];

/** Which of two parts is written first, by their names. */
export function compareParts(a: string, b: string): number {
  return rankOf(a) - rankOf(b) || (a < b ? -1 : Number(a > b));
}

/**
 * A certificate's subject as `CN=name,O=organisation`: always in this order, each value escaped as RFC 4514 has it, so
 * that no subject can be written like another one's. No part is left out: authorities tell people apart by `UID`,
 * `serialNumber` or `DC`, too. Undefined for an empty subject. Whether the certificate was verified is the caller's to know.
 */
export function certificateSubject({ subject }: Pick<PeerCertificate, "subject">): string | undefined {
  const fields: Readonly<Record<string, string | readonly string[] | undefined>> = { ...subject };
  const parts = Object.keys(fields)
    .sort(compareParts)
    .flatMap((name) => [fields[name] ?? []].flat().map((value) => `${name}=${escaped(value)}`));
  return parts.length === 0 ? undefined : parts.join(",");
}

/** The same of a certificate that TLS has verified; undefined once it has expired, which its connection may outlive. */
export function standingSubject(certificate: Pick<PeerCertificate, "subject" | "valid_to">): string | undefined {
  return Date.parse(certificate.valid_to) > Date.now() ? certificateSubject(certificate) : undefined;
}

/** The subject of the client at the other end of a connection; undefined unless TLS has verified its certificate. */
export function verifiedSubject(socket: Socket): string | undefined {
  return socket instanceof TLSSocket && socket.authorized ? standingSubject(socket.getPeerCertificate()) : undefined;
}

function rankOf(name: string): number {
  const at = FIRST_PARTS.indexOf(name);
  return at === -1 ? FIRST_PARTS.length : at;
}

function escaped(value: string): string {
  return value
    .replace(/[\\,+"<>;=]/g, "\\$&")
    .replace(/\p{Cc}/gu, (character) => [...Buffer.from(character)].map((byte) => `\\${hex(byte)}`).join(""))
    .replace(/^[# ]| $/g, "\\$&");
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0").toUpperCase();
}
