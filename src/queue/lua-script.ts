import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { RedisClient } from "./connection.ts";
import { timed } from "./script-timing.ts";

export interface LuaScript {
  /** Runs the script; `args` reaches it as one JSON text in ARGV[1]. Throws what Redis answers as an error. */
  run(redis: RedisClient, keys: readonly string[], args: unknown): Promise<unknown>;
}

const INCLUDE = /^--#include (\w+)$/gm;

/**
 * Loads `lua/<name>.lua`. The number at the end of the name is the number of keys; a call with another number is a
 * mistake of ours and throws. `--#include x` takes in `lua/include/x.lua`, which may take in others.
 */
export function loadScript(name: string): LuaScript {
  const keyCount = Number(/-(\d+)$/.exec(name)?.[1]);
  const title = name.replace(/-\d+$/, "");
  const text = withIncludes(`${name}.lua`);
  const sha = createHash("sha1").update(text).digest("hex");
  return {
    async run(redis, keys, args) {
      if (keys.length !== keyCount) throw new Error(`script ${name} takes ${keyCount} keys, not ${keys.length}`);
      const json = JSON.stringify(args);
      return timed(redis, title, async () => {
        try {
          return await redis.evalsha(sha, keyCount, ...keys, json);
        } catch (error) {
          if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
          return redis.eval(text, keyCount, ...keys, json);
        }
      });
    },
  };
}

function withIncludes(file: string): string {
  const text = readFileSync(new URL(`./lua/${file}`, import.meta.url), "utf8");
  return text.replace(INCLUDE, (_line, part: string) => withIncludes(`include/${part}.lua`));
}
