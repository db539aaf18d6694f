import { DroverError } from "../../contract/errors.ts";
import type { Principal } from "../principal.ts";

/** What one caller may still ask. */
export interface Allowance {
  /** Requests a minute. */
  readonly limit: number;
  readonly remaining: number;
  /** Seconds until one more is allowed; 0 while `remaining` is not 0. */
  readonly resetS: number;
}

/** Thrown at a caller that asks for more than it may. */
export class RateExceeded extends DroverError {
  readonly allowance: Allowance;
  /** Who it is. */
  readonly principal: Principal;

  constructor(allowance: Allowance, principal: Principal) {
    super(
      "too_many_requests",
      `more than ${allowance.limit} requests a minute (DROVER_RATE_LIMIT); go on in ${allowance.resetS} s, and more slowly`,
    );
    this.allowance = allowance;
    this.principal = principal;
  }
}

interface Bucket {
  left: number;
  atMs: number;
}

const MINUTE_MS = 60_000;

/**
 * A bucket per caller that fills evenly, with room for what a minute gives. Callers are forgotten when there are too
 * many, those unheard of for longest first: a forgotten one begins with a full bucket.
 */
export class RateLimit {
  readonly #perMinute: number;
  readonly #callersMax: number;
  readonly #nowMs: () => number;
  readonly #buckets = new Map<string, Bucket>();

  constructor({ perMinute, callersMax, nowMs }: { perMinute: number; callersMax: number; nowMs: () => number }) {
    this.#perMinute = perMinute;
    this.#callersMax = callersMax;
    this.#nowMs = nowMs;
  }

  /** Takes one request out of the caller's bucket; false when it is empty. */
  take(caller: string): boolean {
    const bucket = this.#filled(caller);
    this.#buckets.delete(caller);
    this.#buckets.set(caller, bucket); // the newest is last
    if (this.#buckets.size > this.#callersMax) this.#forgetOldest();
    if (bucket.left < 1) return false;
    bucket.left -= 1;
    return true;
  }

  allowance(caller: string): Allowance {
    const { left } = this.#filled(caller);
    const missing = Math.max(0, 1 - left);
    return {
      limit: this.#perMinute,
      remaining: Math.floor(left),
      resetS: Math.ceil((missing * MINUTE_MS) / this.#perMinute / 1_000),
    };
  }

  #filled(caller: string): Bucket {
    const nowMs = this.#nowMs();
    const { left, atMs } = this.#buckets.get(caller) ?? { left: this.#perMinute, atMs: nowMs };
    const grown = left + (Math.max(0, nowMs - atMs) * this.#perMinute) / MINUTE_MS;
    return { left: Math.min(this.#perMinute, grown), atMs: nowMs };
  }

  #forgetOldest(): void {
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined) this.#buckets.delete(oldest);
  }
}
