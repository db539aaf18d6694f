import { createHash, randomBytes } from "node:crypto";
import { z } from "zod";
import { ROLES } from "../contract/role.ts";
import type { RedisClient } from "./connection.ts";
import type { RedisKeys } from "./redis-keys.ts";

/** Whom a browser acts for since its login. */
const StoredSession = z.object({
  /** The token that was logged in with; the session ends with it. */
  tokenId: z.string(),
  owner: z.string(),
  role: z.enum(ROLES),
  expiresAtMs: z.number(),
});
export type StoredSession = z.output<typeof StoredSession>;

const VALUE_BYTES = 32;
/** What a value looks like; anything else is nobody's, and is not asked for. */
const VALUE = /^[A-Za-z0-9_-]{43}$/;

/**
 * The sessions of all browsers, seen by every API node. Redis knows only the SHA-256 of a cookie's value, so who reads
 * Redis or its backups can be nobody.
 */
export class SessionStore {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: { readonly redis: RedisClient; readonly keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Stores a new session until it expires; the answer is the value of its cookie, always a new one. */
  async begin(session: StoredSession): Promise<string> {
    const value = randomBytes(VALUE_BYTES).toString("base64url");
    const lifeMs = Math.max(1, session.expiresAtMs - Date.now());
    await this.#redis.set(this.#key(value), JSON.stringify(session), "PX", lifeMs);
    return value;
  }

  /** The session of a cookie's value; undefined when it ended, expired or never was. */
  async find(value: string): Promise<StoredSession | undefined> {
    if (!VALUE.test(value)) return undefined;
    const text = await this.#redis.get(this.#key(value));
    if (text === null) return undefined;
    const session = StoredSession.parse(JSON.parse(text));
    return session.expiresAtMs > Date.now() ? session : undefined;
  }

  /** Ends a session everywhere at once. One that is over already is no error. */
  async end(value: string): Promise<void> {
    if (VALUE.test(value)) await this.#redis.del(this.#key(value));
  }

  #key(value: string): string {
    return this.#keys.session(createHash("sha256").update(value).digest("hex"));
  }
}
