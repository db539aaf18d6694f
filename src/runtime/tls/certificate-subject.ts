import type { Socket } from "node:net";
import { type PeerCertificate, TLSSocket } from "node:tls";

/** The parts of a subject that count, in the order in which they are written; others are left out. */
export const SUBJECT_PARTS = ["CN", "O", "OU", "L", "ST", "C", "emailAddress"] as const;

/**
 * A certificate's subject as `CN=name,O=organisation`: always in this order, each value escaped as RFC 4514 has it, so
 * that no subject can be written like another one's. Undefined for an empty subject. Whether the certificate was
 * verified is the caller's to know.
 */
export function certificateSubject({ subject }: Pick<PeerCertificate, "subject">): string | undefined {
  const fields: Readonly<Record<string, string | readonly string[] | undefined>> = { ...subject };
  const parts = SUBJECT_PARTS.flatMap((name) =>
    [fields[name] ?? []].flat().map((value) => `${name}=${escaped(value)}`),
  );
  return parts.length === 0 ? undefined : parts.join(",");
}

/** The subject of the client at the other end of a connection; undefined unless TLS has verified its certificate. */
export function verifiedSubject(socket: Socket): string | undefined {
  return socket instanceof TLSSocket && socket.authorized ? certificateSubject(socket.getPeerCertificate()) : undefined;
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
