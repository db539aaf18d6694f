import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { RedisClient } from "./connection.ts";
import { EventLog, type StoredEvent } from "./event-log.ts";
import type { RedisKeys } from "./redis-keys.ts";

const BLOCK_MS = 5_000;
const BATCH_EVENTS = 500;
const RETRY_MS = 250;
const STOP_MAX_MS = 500;

export type EventListener = (batch: readonly StoredEvent[]) => void;

/** New events as they come: one blocking connection for the whole process, fanned out to any number of listeners. */
export class EventFeed {
  readonly #redis: RedisClient;
  readonly #log: EventLog;
  readonly #logger: Logger;
  readonly #listeners = new Set<EventListener>();
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;
  #lastId = "0-0";

  /** `redis` must be a connection of this feed alone (it blocks) and is closed with it. */
  constructor({ redis, keys, logger }: { redis: RedisClient; keys: RedisKeys; logger: Logger }) {
    this.#redis = redis;
    this.#log = new EventLog({ redis, keys });
    this.#logger = logger;
  }

  /** Stream id of the newest event that the listeners have had. */
  get lastId(): string {
    return this.#lastId;
  }

  /** Begins to read after the newest event; needs no Redis yet. */
  start(): Promise<void> {
    this.#loop ??= this.#run();
    return Promise.resolve();
  }

  /** Gives the listener's cancellation. A listener that throws is logged and hears the next batch all the same. */
  subscribe(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#redis.disconnect();
    // A read that is queued while Redis is away never settles (ioredis #2193): the loop is waited for only so long.
    await Promise.race([this.#loop, delay(STOP_MAX_MS, undefined, { ref: false })]);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let positioned = false;
    while (!signal.aborted) {
      try {
        if (!positioned) this.#lastId = (await this.#log.bounds()).lastId;
        positioned = true;
        const events = await this.#log.readBlocking({ after: this.#lastId, count: BATCH_EVENTS, blockMs: BLOCK_MS });
        const last = events.at(-1);
        if (last === undefined) continue;
        this.#lastId = last.id;
        this.#publish(events);
      } catch (error) {
        if (signal.aborted) return;
        this.#logger.debug({ err: error }, "reading events failed; trying again");
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined); // aborted: the loop ends
      }
    }
  }

  #publish(events: readonly StoredEvent[]): void {
    for (const listener of this.#listeners) {
      try {
        listener(events);
      } catch (error) {
        this.#logger.error({ err: error }, "an event listener failed");
      }
    }
  }
}
