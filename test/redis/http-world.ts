import type { FastifyInstance } from "fastify";
import { pino } from "pino";
import type { ApiDeps, StreamLimits } from "../../src/producer/api-deps.ts";
import { buildApp } from "../../src/producer/app.ts";
import { type ApiOptions, connectApi } from "../../src/producer/connect-api.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import type { Config } from "../../src/runtime/config-shape.ts";
import { fixedKeys } from "../../src/runtime/key-ring.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { parseSecretKeys, type SecretKeys } from "../../src/runtime/secret-keys.ts";
import { openRedisWorld, type RedisWorld } from "../helpers/redis-world.ts";
import { waitFor } from "../helpers/wait-for.ts";

export const TEST_KEYS = parseSecretKeys(`k1:${Buffer.alloc(32, 1).toString("base64")}`, "test");

export interface HttpWorldOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly limits?: Partial<StreamLimits>;
  readonly identify?: ApiOptions["identify"];
  readonly secretKeys?: SecretKeys | undefined;
  /** Lines of the log are collected here. */
  readonly log?: string[];
  readonly tls?: ApiOptions["tls"];
  readonly policySigner?: ApiOptions["policySigner"];
  readonly tracing?: ApiOptions["tracing"];
  /** Listens on a real port. */
  readonly listen?: boolean;
}

export interface HttpWorld extends AsyncDisposable {
  readonly redis: RedisWorld["redis"];
  readonly keys: RedisWorld["keys"];
  readonly app: FastifyInstance;
  readonly deps: ApiDeps;
  /** Of the listener; empty without one. */
  readonly url: string;
}

/** The configuration of a test's API: any free port, a Redis and a key prefix of its own. */
export function testConfig({
  url,
  prefix,
  env = {},
}: {
  url: string;
  prefix: string;
  env?: Readonly<Record<string, string>> | undefined;
}): Config {
  return loadConfig({
    DROVER_REDIS_URL: url,
    DROVER_REDIS_PREFIX: prefix,
    DROVER_STATE_DIR: "/tmp/drover-http-test",
    MANAGER_HTTP_PORT: "0",
    MANAGER_GRPC_PORT: "0",
    MANAGER_INSTANCE_ID: "test-instance",
    ...env,
  }).config;
}

/** `await using world = await openHttpWorld()`: the whole API over a real Redis, with a key prefix of its own. */
export async function openHttpWorld(options: HttpWorldOptions = {}): Promise<HttpWorld> {
  const scope = new Scope();
  const world = scope.own(openRedisWorld(), (opened) => opened[Symbol.asyncDispose]());
  const config = testConfig({ url: world.url, prefix: world.keys.prefix, env: options.env });
  const lines = options.log;
  const logger =
    lines === undefined ? pino({ level: "silent" }) : pino({ level: "trace" }, { write: (line) => lines.push(line) });
  const secretKeys = "secretKeys" in options ? options.secretKeys : TEST_KEYS;
  const { identify, limits, tls, policySigner, tracing } = options;
  const deps = connectApi(
    {
      config,
      logger,
      keyRing: fixedKeys(secretKeys),
      policySigner,
      ...(identify === undefined ? {} : { identify }),
      ...(limits === undefined ? {} : { limits }),
      ...(tls === undefined ? {} : { tls }),
      ...(tracing === undefined ? {} : { tracing }),
    },
    scope,
  );
  const app = scope.own(await buildApp(deps), (built) => built.close());
  const url = options.listen === true ? await app.listen({ host: "127.0.0.1", port: 0 }) : "";
  await app.ready();
  // The connection is opened in the background; a test's first request must not meet a shut gate.
  await waitFor(() => deps.gate.check().then(() => true), { what: "the API to reach Redis" });
  return { redis: world.redis, keys: world.keys, app, deps, url, [Symbol.asyncDispose]: () => scope.close() };
}
