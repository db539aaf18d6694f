import { isLoopbackHost } from "../../runtime/redis-url.ts";
import { type ClientTlsFiles, type ClientTlsNames, readClientMaterial } from "../../runtime/tls/client-material.ts";
import { tlsInvalid } from "../../runtime/tls/material-reader.ts";
import { secureFetch } from "./secure-fetch.ts";
import { readToken } from "./token.ts";

const TLS_NAMES: ClientTlsNames = {
  caCerts: "DROVER_CA_CERTS",
  clientCert: "DROVER_CLIENT_CERT",
  clientKey: "DROVER_CLIENT_KEY",
};

/** How a command proves to the API who it is, and checks who the API is. */
export interface ClientAccess {
  /** Goes with every request as `Authorization`, and nowhere else. */
  readonly token: string | undefined;
  readonly fetch: typeof fetch;
}

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Reads token and certificates out of the client's variables; `warn` is told what is unwise. Throws `config_invalid`
 * and usage errors that name the variable.
 */
export function readClientAccess(env: Env, baseUrl: URL, warn: (message: string) => void): ClientAccess {
  const token = readToken(env, warn);
  if (token !== undefined && baseUrl.protocol === "http:" && !isLoopbackHost(baseUrl.hostname.replace(/[[\]]/g, ""))) {
    warn(`the token travels as plain text to ${baseUrl.host}: use https:// where the API has TLS`);
  }
  const files: ClientTlsFiles = {
    caCerts: env[TLS_NAMES.caCerts] ?? "",
    clientCert: env[TLS_NAMES.clientCert] ?? "",
    clientKey: env[TLS_NAMES.clientKey] ?? "",
  };
  const usesOwnTls = baseUrl.protocol === "https:" && Object.values(files).some((value) => value !== "");
  if (!usesOwnTls) return { token, fetch };
  const { options, problems, warnings } = readClientMaterial(files, TLS_NAMES, Date.now());
  if (problems.length > 0) throw tlsInvalid(problems);
  for (const { field, message } of warnings) warn(`${field}: ${message}`);
  return { token, fetch: secureFetch(options) };
}
