import { join } from "node:path";
import { readDurable, writeDurably } from "../qemu/durable-file.ts";
import type { RedisClient } from "../queue/connection.ts";
import { type GenerationVerdict, KnownGeneration, RedisGeneration } from "../queue/generation.ts";
import type { RedisKeys } from "../queue/redis-keys.ts";

/**
 * Remembers the generation of Redis's data in the state directory as well, so that a loss while no worker ran is
 * noticed by the next one.
 */
export async function rememberGeneration({
  redis,
  keys,
  stateDir,
}: {
  redis: RedisClient;
  keys: RedisKeys;
  stateDir: string;
}): Promise<{ check(): Promise<GenerationVerdict> }> {
  const file = join(stateDir, "generation.json");
  const known = await readDurable(file, KnownGeneration).catch(() => undefined); // damaged: as if it were the first time
  const generation = new RedisGeneration({ redis, keys, known });
  await generation.remember();
  let savedId = known?.id;
  return {
    async check() {
      const verdict = await generation.check();
      const { known: now } = generation;
      // The count changes with every check; on disk it is enough to be roughly right, and only once in a while.
      if (now !== undefined && (now.id !== savedId || now.count % SAVE_EVERY === 0)) {
        savedId = now.id;
        await writeDurably(file, JSON.stringify(now)).catch(() => undefined); // a disk that takes nothing: less is noticed
      }
      return verdict;
    },
  };
}

const SAVE_EVERY = 20;
