import type { Logger } from "pino";
import {
  type ClientTlsFiles,
  type ClientTlsNames,
  type ClientTlsOptions,
  readClientMaterial,
} from "../runtime/tls/client-material.ts";
import { tlsInvalid } from "../runtime/tls/material-reader.ts";

const NAMES: ClientTlsNames = {
  caCerts: "DROVER_REDIS_CA_CERTS",
  clientCert: "DROVER_REDIS_CLIENT_CERT",
  clientKey: "DROVER_REDIS_CLIENT_KEY",
};

export interface RedisTls {
  /** One object for all connections that are made from a client: ioredis looks into it whenever it connects. */
  readonly options: ClientTlsOptions;
  /** Reads the files again, so that the next connection has renewed certificates. What cannot be used is not taken. */
  refresh(): void;
}

/** TLS towards Redis. Throws `config_invalid` for files that cannot be used. */
export function readRedisTls(options: Partial<ClientTlsFiles> & { readonly logger: Logger }): RedisTls {
  const { caCerts = "", clientCert = "", clientKey = "", logger } = options;
  const read = () => readClientMaterial({ caCerts, clientCert, clientKey }, NAMES, Date.now());
  const first = read();
  if (first.problems.length > 0) throw tlsInvalid(first.problems);
  for (const { field, message } of first.warnings) logger.warn({ field }, message);
  const current: ClientTlsOptions = first.options;
  return {
    options: current,
    refresh() {
      const { options: renewed, problems } = read();
      if (problems.length === 0) Object.assign(current, renewed);
    },
  };
}
