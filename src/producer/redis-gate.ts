import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import type { Logger } from "pino";
import { redisFaultOf, redisUnavailable } from "./redis-fault.ts";

export interface RedisGateOptions {
  /** Asks Redis for a sign of life over the connection that the work uses. */
  readonly ping: () => Promise<void>;
  /** How long a silent Redis may hold a request up in all. */
  readonly timeoutMs: number;
  readonly logger: Logger;
}

/** While shut, Redis is asked this often whether it is back. */
const REOPEN_MS = 200;
/** A Redis that refuses writes refuses every one; the log needs it once in a while. */
const REFUSAL_LOG_MS = 10_000;

/**
 * Keeps requests from hanging on a Redis that is away or accepts and does not answer. While work waits, pings go beside
 * it; when one fails, everything that waits is rejected with `redis_unavailable` and new work is refused at once, until
 * a ping succeeds. A single command that a live Redis refuses (memory is short, it is a replica) shuts nothing: reads and
 * removals go on. So slow work on a live Redis is never cut, and an idle API costs Redis nothing.
 */
export class RedisGate {
  readonly #ping: () => Promise<void>;
  readonly #probeEveryMs: number;
  readonly #answerWithinMs: number;
  readonly #logger: Logger;
  readonly #waiting = new Set<(error: Error) => void>();
  readonly #closed = new AbortController();
  #probing = false;
  #shut = false;
  #refusalLoggedAtMs = Number.NEGATIVE_INFINITY;

  constructor({ ping, timeoutMs, logger }: RedisGateOptions) {
    this.#ping = ping;
    // A hang begins at worst right after a ping was answered: both together are the promised time.
    this.#probeEveryMs = Math.ceil(timeoutMs / 4);
    this.#answerWithinMs = timeoutMs - this.#probeEveryMs;
    this.#logger = logger;
  }

  /** Does work that needs Redis. Its errors pass, except that a fault of Redis becomes `redis_unavailable`. */
  run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#shut) return Promise.reject(redisUnavailable());
    return new Promise<T>((resolve, reject) => {
      this.#waiting.add(reject);
      const settle = (action: () => void) => {
        this.#waiting.delete(reject);
        action();
      };
      work().then(
        (value) => settle(() => resolve(value)),
        (error: unknown) => settle(() => reject(this.#judge(error))),
      );
      void this.#probeWhileWaiting();
    });
  }

  /** One ping, bounded; for readiness checks. */
  async check(): Promise<void> {
    if (this.#shut || !(await this.#answers())) throw redisUnavailable();
  }

  /** Ends the background work; what waits is rejected. */
  stop(): void {
    this.#closed.abort();
    this.#rejectWaiting(redisUnavailable());
  }

  async #probeWhileWaiting(): Promise<void> {
    if (this.#probing) return;
    this.#probing = true;
    try {
      while (await this.#pause(this.#probeEveryMs)) {
        if (this.#waiting.size === 0 || this.#shut) return;
        if (!(await this.#answers())) this.#close(new Error("Redis did not answer a ping in time"));
      }
    } finally {
      this.#probing = false;
    }
  }

  #judge(error: unknown): unknown {
    const fault = redisFaultOf(error);
    if (fault === "away") return this.#close(error);
    if (fault === undefined) return error;
    const nowMs = performance.now();
    if (nowMs - this.#refusalLoggedAtMs >= REFUSAL_LOG_MS) {
      this.#refusalLoggedAtMs = nowMs;
      this.#logger.warn({ err: error }, "Redis refuses a command; such requests get 503");
    }
    return redisUnavailable(error);
  }

  #close(cause: unknown): Error {
    const error = redisUnavailable(cause);
    if (this.#shut || this.#closed.signal.aborted) return error;
    this.#shut = true;
    this.#logger.warn(
      { reason: cause instanceof Error ? cause.message : String(cause) },
      "Redis is unavailable; requests get 503",
    );
    this.#rejectWaiting(error);
    void this.#reopen(Date.now());
    return error;
  }

  async #reopen(sinceMs: number): Promise<void> {
    while (await this.#pause(REOPEN_MS)) {
      if (!(await this.#answers())) continue;
      this.#shut = false;
      this.#logger.info({ awayMs: Date.now() - sinceMs }, "Redis answers again");
      return;
    }
  }

  #rejectWaiting(error: Error): void {
    for (const reject of this.#waiting) reject(error);
    this.#waiting.clear();
  }

  async #answers(): Promise<boolean> {
    const timeout = new AbortController();
    try {
      return await Promise.race([
        this.#ping().then(() => true),
        delay(this.#answerWithinMs, false, { signal: timeout.signal, ref: false }).then(heardOut),
      ]);
    } catch {
      return false;
    } finally {
      timeout.abort();
    }
  }

  /** False when the gate was stopped. */
  async #pause(ms: number): Promise<boolean> {
    try {
      return await delay(ms, true, { signal: this.#closed.signal, ref: false });
    } catch {
      return false;
    }
  }
}

/**
 * Timers fire before what has arrived is read: on a loaded machine it may be this process that was late, and the answer
 * waits in the socket.
 */
async function heardOut(): Promise<false> {
  await nextTurn();
  await nextTurn();
  return false;
}
