import { createHash } from "node:crypto";
import type { FieldProblem } from "../../contract/errors.ts";
import type { ListenerConfig } from "../config-shape.ts";
import { assertUsable, completedChain, parseCertificates, validity, wrongUse } from "./certificates.ts";
import { MaterialReader } from "./material-reader.ts";
import { assertPair, parsePrivateKey } from "./private-key.ts";

/** What a listener speaks TLS with, read and checked. PEM throughout. */
export interface ListenerMaterial {
  /** The server's own certificate first, then those between it and the root. */
  readonly cert: Buffer;
  readonly key: Buffer;
  /** The CAs whose clients are let in; undefined: clients need no certificate. */
  readonly clientCa: Buffer | undefined;
  /** Unix ms at which the first certificate of the chain ends. */
  readonly expiresAtMs: number;
  /** Tells one state of the files from another. */
  readonly digest: string;
  readonly warnings: readonly FieldProblem[];
}

/** `problems` is never empty where `material` is missing. */
export type MaterialReading =
  | { readonly material: ListenerMaterial; readonly problems?: undefined }
  | { readonly material?: undefined; readonly problems: readonly FieldProblem[] };

/** A certificate that ends so soon should have been renewed. */
export const EXPIRES_SOON_MS = 14 * 86_400_000;

export function usesTls({ serverCert, serverKey }: ListenerConfig): boolean {
  return serverCert !== "" || serverKey !== "";
}

/**
 * Reads certificate, key and CAs of a listener that uses TLS. The server's CA only completes the chain that clients are
 * sent; whose certificates clients may show is settled by the clients' CA alone.
 */
export function readListenerMaterial(config: ListenerConfig, prefix: string, nowMs: number): MaterialReading {
  const reader = new MaterialReader();
  const names = {
    cert: `${prefix}_SERVER_CERT`,
    key: `${prefix}_SERVER_KEY`,
    serverCa: `${prefix}_SERVER_CA_CERTS`,
    clientCa: `${prefix}_CLIENT_CA_CERTS`,
  };
  const chain = reader.read(names.cert, config.serverCert, ({ text }) => {
    const found = parseCertificates(text);
    assertUsable(found[0], nowMs);
    return found;
  });
  const keyText = reader.read(names.key, config.serverKey, ({ text, mode }) => {
    reader.warn(names.key, mode !== undefined && (mode & 0o007) !== 0 ? EVERYBODYS_KEY : undefined);
    const key = parsePrivateKey(text);
    if (chain !== undefined) assertPair(chain[0], key);
    return text;
  });
  const serverCa = reader.read(names.serverCa, config.serverCaCerts, ({ text }) => parseCertificates(text));
  const clientCa = reader.read(names.clientCa, config.clientCaCerts, ({ text }) => parseCertificates(text));
  if (reader.problems.length > 0 || chain === undefined || keyText === undefined) return { problems: reader.problems };

  reader.warn(names.cert, wrongUse(chain[0], "server"));
  for (const authority of clientCa ?? []) {
    if (validity(authority).toMs < nowMs) reader.warn(names.clientCa, expiredCa(authority.subject));
  }
  const complete = serverCa === undefined ? chain : completedChain(chain, serverCa);
  if (complete === undefined) reader.warn(names.serverCa, NOT_THE_ISSUER);
  const cert = Buffer.from((complete ?? chain).join(""));
  const key = Buffer.from(keyText);
  const clientCaText = clientCa === undefined ? undefined : Buffer.from(clientCa.join(""));
  const digest = createHash("sha256");
  for (const part of [cert, key, clientCaText ?? Buffer.alloc(0)]) digest.update(`${part.length}:`).update(part);
  return {
    material: {
      cert,
      key,
      clientCa: clientCaText,
      expiresAtMs: Math.min(...(complete ?? chain).map((certificate) => validity(certificate).toMs)),
      digest: digest.digest("hex"),
      warnings: reader.warnings,
    },
  };
}

const EVERYBODYS_KEY = "every user of this machine may read the key's file. Mend it with `chmod 0600`.";
const NOT_THE_ISSUER =
  "holds no certificate that has signed the server's. It has no effect; which clients are let in is settled by the CLIENT_CA_CERTS of the listener.";

function expiredCa(subject: string): string {
  return `the CA ${JSON.stringify(subject.replaceAll("\n", ","))} has expired: clients with its certificates are refused.`;
}
