import { createHash } from "node:crypto";
import type { Logger } from "pino";
import { DroverError } from "../../contract/errors.ts";
import { ownerOfSubject } from "../../contract/owner.ts";
import type { SessionStore } from "../../queue/session-store.ts";
import type { StoredToken, TokenStore } from "../../queue/token-store.ts";
import type { Config } from "../../runtime/config-shape.ts";
import { LOCAL_OPERATOR, type Principal } from "../principal.ts";
import type { RedisGate } from "../redis-gate.ts";
import type { Authenticator, Credentials } from "./authenticator.ts";
import { isLoopback } from "./loopback.ts";
import { type Allowance, RateExceeded, RateLimit } from "./rate-limit.ts";

export interface AccessControlOptions {
  readonly config: Pick<Config, "auth" | "insecure" | "http" | "grpc" | "grpcCalls">;
  readonly tokens: Pick<TokenStore, "any" | "verify" | "find" | "findSubject" | "noteUse">;
  readonly sessions: Pick<SessionStore, "find">;
  readonly gate: Pick<RedisGate, "run">;
  readonly logger: Logger;
  readonly nowMs?: () => number;
}

/** For so long an answer of Redis is believed: a token that is removed counts no longer than this. */
const BELIEVED_MS = 5_000;
const BELIEVED_MAX = 1_000;
/** A use is noted at most this often for each token. */
const NOTE_USE_MS = 60_000;
/** Credentials that did not fit, per minute and address. */
const FAILURES_PER_MINUTE = 20;
const CALLERS_MAX = 10_000;

interface Believed {
  readonly token: StoredToken | undefined;
  readonly askedAtMs: number;
}

/**
 * Finds out who calls: a token, else a session, else a certificate, else nobody in particular. What is shown and does
 * not fit is refused, also where nothing had to be shown; a session that is over counts as nothing, since browsers send
 * its cookie by themselves.
 */
export class AccessControl implements Authenticator {
  readonly #options: AccessControlOptions;
  readonly #nowMs: () => number;
  readonly #believed = new Map<string, Believed>();
  readonly #notedAtMs = new Map<string, number>();
  readonly #failures: RateLimit;
  readonly #requests: RateLimit | undefined;
  /** Once tokens were seen, everybody must show one until this process ends: emptying Redis opens no door. */
  #tokensSeen = false;
  #noTokensAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: AccessControlOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
    const limits = { callersMax: CALLERS_MAX, nowMs: this.#nowMs };
    const { rateLimit } = options.config.auth;
    this.#failures = new RateLimit({ ...limits, perMinute: FAILURES_PER_MINUTE });
    this.#requests = rateLimit === 0 ? undefined : new RateLimit({ ...limits, perMinute: rateLimit });
  }

  async identify(credentials: Credentials): Promise<Principal> {
    const principal = await this.#find(credentials);
    if (this.#requests === undefined || !isLimited(principal)) return principal;
    const caller = callerOf(principal, credentials);
    if (!this.#requests.take(caller)) throw new RateExceeded(this.#requests.allowance(caller), principal);
    return principal;
  }

  /** What a caller may still ask; undefined for whom no limit counts. */
  allowance(principal: Principal, credentials: Pick<Credentials, "remote">): Allowance | undefined {
    return isLimited(principal) ? this.#requests?.allowance(callerOf(principal, credentials)) : undefined;
  }

  async #find(credentials: Credentials): Promise<Principal> {
    const { bearer, session, certificateSubject } = credentials;
    if (bearer !== undefined) return this.#byToken(bearer, credentials);
    const visitor = session === undefined ? undefined : await this.#bySession(session);
    if (visitor !== undefined) return visitor;
    if (certificateSubject !== undefined) return this.#byCertificate(certificateSubject, credentials);
    return this.#byAddress(credentials);
  }

  async #byToken(text: string, credentials: Credentials): Promise<Principal> {
    const key = createHash("sha256").update(text).digest("base64");
    const token = await this.#believe(`token ${key}`, () => this.#options.tokens.verify(text));
    if (token === undefined) return this.#fail(credentials, "this token is not known; it may have been removed");
    if (this.#hasExpired(token)) return this.#fail(credentials, `token ${token.id} has expired`);
    this.#noteUse(token.id);
    return { owner: token.owner, role: token.role, via: "token", tokenId: token.id };
  }

  /** Role and owner are the token's of now, and it ends with the token. */
  async #bySession(value: string): Promise<Principal | undefined> {
    const session = await this.#options.gate.run(() => this.#options.sessions.find(value));
    if (session === undefined) return undefined;
    const { tokenId } = session;
    const token = await this.#believe(`id ${tokenId}`, () => this.#options.tokens.find(tokenId));
    if (token === undefined || this.#hasExpired(token)) return undefined;
    this.#noteUse(tokenId);
    return { owner: token.owner, role: token.role, via: "session", tokenId };
  }

  async #byCertificate(subject: string, credentials: Credentials): Promise<Principal> {
    const entry = await this.#believe(`subject ${subject}`, () => this.#options.tokens.findSubject(subject));
    if (entry !== undefined) {
      if (this.#hasExpired(entry))
        return this.#fail(credentials, `the role of this certificate (${entry.id}) has expired`);
      this.#noteUse(entry.id);
      return { owner: entry.owner, role: entry.role, via: "certificate", tokenId: entry.id };
    }
    const owner = ownerOfSubject(subject);
    if (owner === undefined) return this.#fail(credentials, "the subject of this certificate is too long for an owner");
    return { owner, role: "submitter", via: "certificate" };
  }

  async #byAddress({ protocol, remote, proxied = false, isGuest = () => false }: Credentials): Promise<Principal> {
    const { auth, insecure, grpcCalls } = this.#options.config;
    const { host, clientCaCerts } = this.#options.config[protocol];
    const isNear = insecure || (isLoopback(host) && isLoopback(remote) && !proxied);
    const isLocal = isNear && clientCaCerts === ""; // else it has a certificate, and one that names nobody
    const mayBeAnybody = !auth.required && isLocal && !(await this.#tokensExist());
    // What a guest asks of 10.0.2.2 comes from this machine's own QEMU, over loopback.
    if (mayBeAnybody && (insecure || !isGuest())) return LOCAL_OPERATOR;
    if (protocol === "grpc" && grpcCalls.anonymous === "submitter")
      return { owner: "anonymous", role: "submitter", via: "anonymous" };
    throw new DroverError("unauthenticated", HOW_TO[protocol]);
  }

  async #tokensExist(): Promise<boolean> {
    if (this.#tokensSeen) return true;
    const nowMs = this.#nowMs();
    if (isFresh(this.#noTokensAtMs, nowMs)) return false;
    this.#tokensSeen = await this.#options.gate.run(() => this.#options.tokens.any());
    if (!this.#tokensSeen) this.#noTokensAtMs = nowMs;
    return this.#tokensSeen;
  }

  /** Asks Redis, at most once in 5 s for each question. */
  async #believe(key: string, ask: () => Promise<StoredToken | undefined>): Promise<StoredToken | undefined> {
    const nowMs = this.#nowMs();
    const known = this.#believed.get(key);
    if (known !== undefined && isFresh(known.askedAtMs, nowMs)) return known.token;
    const token = await this.#options.gate.run(ask);
    if (token !== undefined) this.#tokensSeen = true;
    else if (!key.startsWith("subject ")) return undefined; // a token that was made right now counts at once
    if (this.#believed.size >= BELIEVED_MAX) this.#believed.clear();
    this.#believed.set(key, { token, askedAtMs: nowMs });
    return token;
  }

  #hasExpired({ expiresAtMs }: StoredToken): boolean {
    return expiresAtMs !== undefined && expiresAtMs <= this.#nowMs();
  }

  #noteUse(id: string): void {
    const nowMs = this.#nowMs();
    if (nowMs - (this.#notedAtMs.get(id) ?? Number.NEGATIVE_INFINITY) < NOTE_USE_MS) return;
    if (this.#notedAtMs.size >= BELIEVED_MAX) this.#notedAtMs.clear();
    this.#notedAtMs.set(id, nowMs);
    this.#options.gate
      .run(() => this.#options.tokens.noteUse(id, nowMs))
      .catch((error: unknown) => this.#options.logger.debug({ err: error }, "the use of a token could not be noted"));
  }

  #fail({ remote }: Credentials, why: string): never {
    if (!this.#failures.take(remote)) {
      throw new DroverError(
        "too_many_requests",
        `more than ${FAILURES_PER_MINUTE} attempts a minute from ${remote} did not fit; wait a minute, and show a token that counts`,
      );
    }
    throw new DroverError("unauthenticated", `${why}; an operator makes one with \`drover token add\``);
  }
}

const HOW_TO = {
  http: "show a token as `Authorization: Bearer drover_...` (an operator makes one with `drover token add`; the command line takes it from DROVER_TOKEN or DROVER_TOKEN_FILE), a client certificate, or log in at /login",
  grpc: "show a client certificate (MANAGER_GRPC_CLIENT_CA_CERTS on the server), or a token as metadata `authorization: Bearer drover_...` (an operator makes one with `drover token add`); for clients that have neither the server can be started with DROVER_GRPC_ANONYMOUS=submitter",
} as const;

/** Whether an answer is still believed; never one of the future, which a clock that was set back would keep for ever. */
function isFresh(askedAtMs: number, nowMs: number): boolean {
  return askedAtMs <= nowMs && nowMs - askedAtMs < BELIEVED_MS;
}

/** Whoever is on this machine and needs no proof could stop the server as well. */
function isLimited({ via }: Principal): boolean {
  return via !== "local";
}

function callerOf({ via, owner, tokenId }: Principal, { remote }: Pick<Credentials, "remote">): string {
  return via === "anonymous" ? `address ${remote}` : `${tokenId ?? "certificate"} ${owner}`;
}
