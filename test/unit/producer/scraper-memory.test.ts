import { fastify } from "fastify";
import { expect, test } from "vitest";
import { DroverError } from "../../../src/contract/errors.ts";
import { accessRules } from "../../../src/producer/access/rules.ts";
import { rememberScrapers } from "../../../src/producer/access/scraper-memory.ts";
import { errorReply } from "../../../src/producer/error-reply.ts";
import { type Principal, principalHook } from "../../../src/producer/principal.ts";

const OPERATOR: Principal = { owner: "ops", role: "operator", via: "token", tokenId: "t1" };

/** Routes of which one is that of the metrics, and a Redis that a test takes away. */
async function openApp() {
  const redis = { isAway: false, knows: "good" };
  const app = fastify();
  const identify = rememberScrapers(({ headers }) => {
    if (redis.isAway) throw new DroverError("redis_unavailable", "Redis does not answer");
    if (headers.authorization !== `Bearer ${redis.knows}`) throw new DroverError("unauthenticated", "not known");
    return OPERATOR;
  });
  await app.register(accessRules);
  await app.register(errorReply);
  await app.register(principalHook, { identify });
  for (const url of ["/metrics", "/v1/hosts"]) app.get(url, { config: { access: "operator" } }, async () => "");
  const status = async (url: string, token: string, remoteAddress = "127.0.0.1") =>
    (await app.inject({ url, remoteAddress, headers: { authorization: `Bearer ${token}` } })).statusCode;
  return { app, redis, status };
}

test("whoever scraped before goes on while Redis is away, and nobody else, and nowhere else", async () => {
  const { redis, status } = await openApp();
  expect(await status("/metrics", "good")).toBe(200);
  expect(await status("/metrics", "bad")).toBe(401);
  redis.isAway = true;
  expect(await status("/metrics", "good")).toBe(200);
  expect(await status("/metrics", "bad")).toBe(503);
  expect(await status("/metrics", "good", "192.0.2.9"), "from elsewhere").toBe(503);
  expect(await status("/v1/hosts", "good")).toBe(503);
});

test("a token that was taken away is forgotten here, too, once Redis has said so", async () => {
  const { redis, status } = await openApp();
  expect(await status("/metrics", "good")).toBe(200);
  redis.knows = "another";
  expect(await status("/metrics", "good")).toBe(401);
  redis.isAway = true;
  expect(await status("/metrics", "good")).toBe(503);
});
