import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openRedis } from "../../src/queue/connection.ts";
import { RedisGeneration } from "../../src/queue/generation.ts";
import { redisKeys } from "../../src/queue/redis-keys.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { freePort, type RedisServer, startRedis } from "../helpers/redis-server.ts";

const keys = redisKeys("{generation}");
const logger = pino({ level: "silent" });
let scope: Scope;
let dir: string;
let port: number;

beforeEach(async () => {
  scope = new Scope();
  dir = scope.own(mkdtempSync(join(tmpdir(), "drover-gen-")), (path) => rmSync(path, { recursive: true, force: true }));
  port = await freePort();
});
afterEach(() => scope.close());

async function openServer(from = "data"): Promise<RedisServer> {
  const args = ["--appendonly", "yes", "--appendfsync", "always", "--appenddirname", from];
  const server = await startRedis({ local: true, port, dir, args });
  return scope.own(server, () => server.stop());
}

function openClient() {
  const url = `redis://127.0.0.1:${port}`;
  return scope.own(openRedis({ url, role: "worker", name: "generation", logger }), (client) => client.disconnect());
}

test("the same data is the same, for all who remember it, across a restart with its file", async () => {
  const server = await openServer();
  const redis = openClient();
  const [one, two] = [new RedisGeneration({ redis, keys }), new RedisGeneration({ redis, keys })];
  await Promise.all([one.remember(), two.remember()]);
  expect(one.known?.id).toBe(two.known?.id);
  expect([await one.check(), await two.check(), await one.check()]).toEqual(["same", "same", "same"]);
  await server.stop();
  await openServer();
  expect([await one.check(), await two.check()]).toEqual(["same", "same"]);
  await one.remember();
  expect(await new RedisGeneration({ redis, keys }).check(), "whoever knows nothing misses nothing").toBe("same");
});

test("FLUSHALL is a loss, told once to each who remembers", async () => {
  await openServer();
  const redis = openClient();
  const [one, two] = [new RedisGeneration({ redis, keys }), new RedisGeneration({ redis, keys })];
  await Promise.all([one.remember(), two.remember()]);
  await redis.flushall();
  expect([await one.check(), await one.check(), await two.check(), await two.check()]).toEqual([
    "lost",
    "same",
    "lost",
    "same",
  ]);
});

test("what was remembered on disk is compared after a restart of the worker", async () => {
  await openServer();
  const redis = openClient();
  const before = new RedisGeneration({ redis, keys });
  await before.remember();
  await redis.flushall();
  const after = new RedisGeneration({ redis, keys, known: before.known });
  await after.remember();
  expect(await after.check()).toBe("lost");
});

test("an earlier file that is put back is seen, also by those who ask after others have gone on counting", async () => {
  const server = await openServer();
  const redis = openClient();
  const everybody = Array.from({ length: 4 }, () => new RedisGeneration({ redis, keys }));
  for (const one of everybody) await one.remember();
  cpSync(join(dir, "data"), join(dir, "older"), { recursive: true });
  for (let round = 0; round < 3; round++) for (const one of everybody) expect(await one.check()).toBe("same");
  await server.stop();
  await openServer("older");
  const [first, ...others] = everybody;
  expect(await first?.check()).toBe("behind");
  for (let i = 0; i < 50; i++) expect(await first?.check()).toBe("same"); // now it counts more than anybody remembers
  for (const one of others) expect(await one.check()).toBe("behind");
  for (const one of everybody) expect(await one.check()).toBe("same");
});
