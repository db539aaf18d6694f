import { readFile } from "node:fs/promises";
import { loadConfig } from "../runtime/config/load-config.ts";
import type { Config } from "../runtime/config-shape.ts";
import { redisPaths } from "../runtime/embedded-redis-files.ts";
import type { CliContext } from "./terminal.ts";

/** Without a Redis that is named, the one of `drover up` is meant, while that runs. */
export async function withPrivateRedis(config: Config, { env }: CliContext): Promise<Config> {
  if (["DROVER_REDIS_URL", "REDIS_URL"].some((name) => (env[name] ?? "") !== "")) return config;
  const url = await readFile(redisPaths(config.stateDir).url, "utf8").catch(() => undefined); // `up` does not run
  return url === undefined ? config : loadConfig({ ...env, DROVER_REDIS_URL: url.trim() }).config;
}
