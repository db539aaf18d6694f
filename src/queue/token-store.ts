import { timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { DroverError } from "../contract/errors.ts";
import { Owner } from "../contract/owner.ts";
import { ROLES, type Role } from "../contract/role.ts";
import { newTokenText, subjectId, tokenDigest, tokenIdOf } from "../runtime/token-text.ts";
import type { RedisClient } from "./connection.ts";
import type { RedisKeys } from "./redis-keys.ts";

/** What is kept of a token, or of the role that a certificate's subject has. Nothing in it is secret. */
const StoredToken = z.object({
  v: z.literal(1),
  id: z.string(),
  /** SHA-256 of the token in hex; a certificate proves itself. */
  digest: z.string().optional(),
  /** Subject of the certificate, for an entry without a token. */
  subject: z.string().optional(),
  owner: Owner,
  role: z.enum(ROLES),
  label: z.string(),
  createdAtMs: z.number(),
  createdBy: z.string(),
  expiresAtMs: z.number().optional(),
});
export type StoredToken = z.output<typeof StoredToken>;

export interface NewToken {
  readonly owner: string;
  readonly role: Role;
  readonly label: string;
  readonly createdBy: string;
  readonly expiresAtMs: number | undefined;
}

/** A token with the time of its last use, which is kept to the minute. */
export interface ListedToken extends StoredToken {
  readonly lastUsedAtMs: number | undefined;
}

/** Compared with where there is no such token, so that an unknown id takes the same work. */
const NO_DIGEST = Buffer.alloc(32);

/** Tokens of all API nodes. Redis knows only their digests, so who reads Redis or its backups can be nobody. */
export class TokenStore {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: { readonly redis: RedisClient; readonly keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Makes a token. Its text is given here and never again. */
  async add(token: NewToken): Promise<{ readonly token: StoredToken; readonly text: string }> {
    for (;;) {
      const { id, text } = newTokenText();
      const stored = entry({ ...token, id, digest: tokenDigest(text).toString("hex") });
      if (await this.#insert(stored)) return { token: stored, text };
    }
  }

  /** Gives a certificate's subject an owner and a role. Throws `invalid_request` when it has one. */
  async addSubject(subject: string, token: NewToken): Promise<StoredToken> {
    const stored = entry({ ...token, id: subjectId(subject), subject });
    if (await this.#insert(stored)) return stored;
    throw new DroverError(
      "invalid_request",
      `the certificate of ${JSON.stringify(subject)} has a role already; take that away first: drover token rm ${stored.id}`,
    );
  }

  /** Whether a token or a role of a certificate exists, also one that has expired. */
  async any(): Promise<boolean> {
    return (await this.#redis.hlen(this.#keys.tokens)) > 0;
  }

  /** The entry of a token's text; undefined for one that is not known. Whether it has expired is the caller's to see. */
  async verify(text: string): Promise<StoredToken | undefined> {
    const id = tokenIdOf(text);
    if (id === undefined) return undefined;
    const found = await this.find(id);
    const digest = found?.digest === undefined ? NO_DIGEST : Buffer.from(found.digest, "hex");
    return timingSafeEqual(digest, tokenDigest(text)) ? found : undefined;
  }

  async findSubject(subject: string): Promise<StoredToken | undefined> {
    const found = await this.find(subjectId(subject));
    return found?.subject === subject ? found : undefined;
  }

  async find(id: string): Promise<StoredToken | undefined> {
    const text = await this.#redis.hget(this.#keys.tokens, id);
    return text === null ? undefined : StoredToken.parse(JSON.parse(text));
  }

  /** All of them, oldest first. */
  async list(): Promise<readonly ListedToken[]> {
    const entries = await this.#redis.hgetall(this.#keys.tokens);
    const used = await this.#redis.hgetall(this.#keys.tokensUsed);
    return Object.values(entries)
      .map((text) => StoredToken.parse(JSON.parse(text)))
      .map((token) => ({ ...token, lastUsedAtMs: used[token.id] === undefined ? undefined : Number(used[token.id]) }))
      .sort((a, b) => a.createdAtMs - b.createdAtMs);
  }

  /** Takes a token, or a certificate's role, away; what it was, or undefined when there was none. */
  async remove(id: string): Promise<StoredToken | undefined> {
    const found = await this.find(id);
    await this.#redis.hdel(this.#keys.tokens, id);
    await this.#redis.hdel(this.#keys.tokensUsed, id);
    return found;
  }

  async noteUse(id: string, atMs: number): Promise<void> {
    await this.#redis.hset(this.#keys.tokensUsed, id, atMs);
  }

  async #insert(token: StoredToken): Promise<boolean> {
    return (await this.#redis.hsetnx(this.#keys.tokens, token.id, JSON.stringify(token))) === 1;
  }
}

function entry(token: NewToken & { readonly id: string; readonly digest?: string; readonly subject?: string }) {
  return StoredToken.parse({ ...token, v: 1, createdAtMs: Date.now() });
}
