import { X509Certificate } from "node:crypto";
import type { ConnectionOptions } from "node:tls";
import type { FieldProblem } from "../../contract/errors.ts";
import { assertUsable, parseCertificates, wrongUse } from "./certificates.ts";
import { MaterialReader } from "./material-reader.ts";
import { assertPair, parsePrivateKey } from "./private-key.ts";
import { SECURE_VERSIONS } from "./secure-versions.ts";

/** Each the path of a PEM file, the PEM text itself, or empty. */
export interface ClientTlsFiles {
  /** CAs that the server's certificate may be of; empty: those that Node trusts. */
  readonly caCerts: string;
  /** What the client shows of itself, if it is asked. */
  readonly clientCert: string;
  readonly clientKey: string;
}

export type ClientTlsNames = Readonly<Record<keyof ClientTlsFiles, string>>;

export type ClientTlsOptions = Pick<ConnectionOptions, "ca" | "cert" | "key" | "minVersion" | "ciphers">;

export interface ClientMaterial {
  readonly options: ClientTlsOptions;
  readonly problems: readonly FieldProblem[];
  readonly warnings: readonly FieldProblem[];
}

/** What a client speaks TLS with, as Node's `tls.connect` takes it. Of no use where there are problems. */
export function readClientMaterial(files: ClientTlsFiles, names: ClientTlsNames, nowMs: number): ClientMaterial {
  const reader = new MaterialReader();
  const ca = reader.read(names.caCerts, files.caCerts, ({ text }) => parseCertificates(text).join(""));
  const cert = reader.read(names.clientCert, files.clientCert, ({ text }) => {
    const chain = parseCertificates(text);
    assertUsable(chain[0], nowMs);
    reader.warn(names.clientCert, wrongUse(chain[0], "client"));
    return chain.join("");
  });
  const key = reader.read(names.clientKey, files.clientKey, ({ text }) => {
    const parsed = parsePrivateKey(text);
    if (cert !== undefined) assertPair(new X509Certificate(cert), parsed);
    return text;
  });
  for (const [has, lacks] of [
    ["clientCert", "clientKey"],
    ["clientKey", "clientCert"],
  ] as const) {
    if (files[has] === "" || files[lacks] !== "") continue;
    const message = `is not set, but ${names[has]} is: they go together. Set both or neither.`;
    reader.problems.push({ field: names[lacks], message });
  }
  return {
    options: {
      ...SECURE_VERSIONS,
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    },
    problems: reader.problems,
    warnings: reader.warnings,
  };
}
