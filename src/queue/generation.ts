import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import type { RedisKeys } from "./redis-keys.ts";

const generationScript = loadScript("generation-1");
const Reply = z.tuple([z.string(), z.number(), z.enum(["first", "same", "behind", "lost"])]);

/** What is remembered of the data in Redis; may be kept on disk to be compared after a restart. */
export const KnownGeneration = z.object({ id: z.string(), count: z.int() });
export type KnownGeneration = z.infer<typeof KnownGeneration>;

/**
 * - `same`: the data that was there the last time, as far as can be seen.
 * - `behind`: an earlier state of it was put back: an old append-only file, a failover that lost writes. What happened
 *   since the last question may be lost unseen: that is the finest that this can tell.
 * - `lost`: other data, or none (FLUSHALL, an empty Redis).
 */
export type GenerationVerdict = "same" | "behind" | "lost";

/** Notices that Redis has less than it had. Each process remembers on its own; a loss is told to each of them once. */
export class RedisGeneration {
  readonly #redis: RedisClient;
  readonly #key: string;
  #known: KnownGeneration | undefined;

  /** `known`: what an earlier process of this host remembered. */
  constructor({ redis, keys, known }: { redis: RedisClient; keys: RedisKeys; known?: KnownGeneration | undefined }) {
    this.#redis = redis;
    this.#key = keys.generation;
    this.#known = known;
  }

  /** What to remember for the next process. */
  get known(): KnownGeneration | undefined {
    return this.#known;
  }

  /** Begins a generation if there is none, and remembers it. A loss since what was `known` is told by the next check. */
  async remember(): Promise<void> {
    if (this.#known === undefined) await this.#ask();
  }

  /** Compares with what was remembered, and remembers what there is now. */
  async check(): Promise<GenerationVerdict> {
    const verdict = await this.#ask();
    return verdict === "first" ? "same" : verdict;
  }

  async #ask(): Promise<z.infer<typeof Reply>[2]> {
    const args = { candidate: randomUUID(), known: this.#known ?? null };
    const [id, count, verdict] = Reply.parse(await generationScript.run(this.#redis, [this.#key], args));
    this.#known = { id, count };
    return verdict;
  }
}
