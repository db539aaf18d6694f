import type { SecureContextOptions } from "node:tls";
import type { Logger } from "pino";
import type { FieldProblem } from "../../contract/errors.ts";
import type { Config, ListenerConfig } from "../config-shape.ts";
import { EXPIRES_SOON_MS, type ListenerMaterial, readListenerMaterial, usesTls } from "./listener-material.ts";
import { tlsInvalid } from "./material-reader.ts";
import { SECURE_VERSIONS } from "./secure-versions.ts";

/** How often the files are read again. They are small, and a renewal has weeks of time. */
const POLL_MS = 5_000;
const DAY_MS = 86_400_000;

interface ListenerTlsOptions {
  readonly listener: ListenerConfig;
  /** What its variables begin with: `MANAGER_HTTP` or `MANAGER_GRPC`. */
  readonly prefix: string;
  readonly material: ListenerMaterial;
  readonly logger: Logger;
  readonly pollMs?: number;
}

/** TLS of both listeners; undefined for one that speaks without. */
export interface ListenersTls {
  readonly http: ListenerTls | undefined;
  readonly grpc: ListenerTls | undefined;
}

/**
 * The certificates of a listener, read again while it runs. A changed file counts from the next handshake on, and
 * connections that stand are left alone. Files that do not fit are said once, and what was in force stays in force.
 * The files are polled: what watches report differs from file system to file system, and a mounted secret is a chain
 * of links whose middle one is changed.
 */
export class ListenerTls {
  readonly #options: ListenerTlsOptions;
  readonly #listeners = new Set<(material: ListenerMaterial) => void>();
  readonly #timer: NodeJS.Timeout;
  #current: ListenerMaterial;
  /** The last refusal: said when it is seen a second time, since a renewal may be half done at the first look. */
  #refused: { readonly text: string; said: boolean } | undefined;
  #saidExpiryAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: ListenerTlsOptions) {
    this.#options = options;
    this.#current = options.material;
    for (const { field, message } of options.material.warnings) options.logger.warn({ field }, message);
    this.#sayExpiry(Date.now());
    this.#timer = setInterval(() => this.reload(), options.pollMs ?? POLL_MS).unref();
  }

  /** What new handshakes are to use. */
  get current(): ListenerMaterial {
    return this.#current;
  }

  /** The same for Node's TLS servers. With a clients' CA, a client without a certificate of it is refused. */
  get context(): SecureContextOptions & { readonly requestCert: boolean; readonly rejectUnauthorized: boolean } {
    const { cert, key, clientCa } = this.#current;
    const asksClients = clientCa !== undefined;
    return {
      ...SECURE_VERSIONS,
      cert,
      key,
      ...(asksClients ? { ca: clientCa } : {}),
      requestCert: asksClients,
      rejectUnauthorized: asksClients,
    };
  }

  /** Calls `listener` after every change. Gives the function that ends that. */
  onChange(listener: (material: ListenerMaterial) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Looks at the files now. */
  reload(): void {
    const nowMs = Date.now();
    const { listener, prefix, logger } = this.#options;
    const { material, problems } = readListenerMaterial(listener, prefix, nowMs);
    this.#sayExpiry(nowMs);
    if (material === undefined) {
      this.#refuse(problems);
      return;
    }
    this.#refused = undefined;
    if (material.digest === this.#current.digest) return;
    this.#current = material;
    this.#saidExpiryAtMs = Number.NEGATIVE_INFINITY;
    for (const { field, message } of material.warnings) logger.warn({ field }, message);
    logger.info({ listener: prefix, expiresAt: isoOf(material.expiresAtMs) }, "new certificates are in force");
    for (const tell of this.#listeners) tell(material);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }

  #refuse(problems: readonly FieldProblem[]): void {
    const text = problems.map(({ field, message }) => `${field}: ${message}`).join(" ");
    if (this.#refused?.text !== text) {
      this.#refused = { text, said: false };
    } else if (!this.#refused.said) {
      this.#refused.said = true;
      this.#options.logger.error({ problems }, "the changed certificates cannot be used; those before stay in force");
    }
  }

  #sayExpiry(nowMs: number): void {
    const { expiresAtMs } = this.#current;
    if (expiresAtMs - nowMs > EXPIRES_SOON_MS || nowMs - this.#saidExpiryAtMs < DAY_MS) return;
    this.#saidExpiryAtMs = nowMs;
    const { logger, prefix } = this.#options;
    const fields = { field: `${prefix}_SERVER_CERT`, expiresAt: isoOf(expiresAtMs) };
    if (expiresAtMs > nowMs) logger.warn(fields, "the listener's certificate expires soon: renew the files");
    else logger.error(fields, "the listener's certificate has expired: clients refuse it; renew the files");
  }
}

/**
 * Reads the certificates of both listeners. Throws one `config_invalid` that names every variable at fault. Whoever
 * calls it stops both.
 */
export function openListenersTls(
  config: Pick<Config, "http" | "grpc">,
  options: { readonly logger: Logger; readonly pollMs?: number },
): ListenersTls {
  const read = (prefix: "MANAGER_HTTP" | "MANAGER_GRPC", listener: ListenerConfig) =>
    usesTls(listener) ? { prefix, listener, ...readListenerMaterial(listener, prefix, Date.now()) } : undefined;
  const http = read("MANAGER_HTTP", config.http);
  const grpc = read("MANAGER_GRPC", config.grpc);
  const problems = [...(http?.problems ?? []), ...(grpc?.problems ?? [])];
  if (problems.length > 0) throw tlsInvalid(problems);
  const start = (reading: typeof http) =>
    reading?.material === undefined
      ? undefined
      : new ListenerTls({ ...options, ...reading, material: reading.material });
  return { http: start(http), grpc: start(grpc) };
}

export function closeListenersTls({ http, grpc }: ListenersTls): void {
  http?.stop();
  grpc?.stop();
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
