import fc from "fast-check";
import { pino } from "pino";
import { inject, test } from "vitest";
import { openRedis } from "../../src/queue/connection.ts";
import { dumpRedis } from "../helpers/redis-dump.ts";
import { openRedisWorld } from "../helpers/redis-world.ts";
import { fakeClient } from "../model/redis/fake-client.ts";
import { FakeRedis } from "../model/redis/fake-redis.ts";
import { carryOut, operationLists } from "../model/redis/store-operations.ts";
import { directTransport, openStoreSide, VM_IDS } from "../model/redis/store-side.ts";

const LISTS = Number(process.env["DROVER_LISTS"] ?? 1_000);
const seed = Number(process.env["SEED"] ?? 20_261);

test("the Redis of the model test does what a real one does: same outcomes, same keys", {
  timeout: 120_000,
}, async () => {
  await using world = openRedisWorld();
  const { redis, keys } = world;
  const logger = pino({ level: "silent" });
  const bull = openRedis({ url: inject("redisUrl"), role: "worker", name: "test-bull", logger });
  const fakeServer = new FakeRedis(() => Date.now());
  const openFake = () => fakeClient(() => directTransport(fakeServer));
  const parts = { redis: openFake(), bull: openFake(), keys };
  try {
    await fc.assert(
      fc.asyncProperty(operationLists, async (operations) => {
        const real = openStoreSide({ redis, bull, keys });
        const fake = openStoreSide(parts);
        fakeServer.keys.loseAll();
        const left = await redis.keys(`${keys.prefix.replace(/[{}]/g, "\\$&")}*`);
        if (left.length > 0) await redis.del(left);
        for (const operation of operations) {
          const outcomes = await Promise.all([carryOut(real, operation), carryOut(fake, operation)]);
          const [expected, actual] = outcomes.map(blank);
          if (expected !== actual) throw new Error(`${operation.name}: real ${expected}, fake ${actual}`);
        }
        const [expected, actual] = [await dumpRedis(redis, keys, VM_IDS), await dumpRedis(parts.redis, keys, VM_IDS)];
        const found = differences(expected, actual);
        if (found.length > 0) throw new Error(`the keys differ: ${found.join("\n")}`);
      }),
      { seed, numRuns: LISTS, endOnFailure: false },
    );
  } finally {
    bull.disconnect();
  }
});

/** Times and ids that were drawn differ from run to run; fields have no order. */
function blank(value: unknown): string {
  const text = JSON.stringify(ordered(value)) ?? "undefined";
  return text
    .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, (uuid) => (VM_IDS.includes(uuid) ? uuid : "<id>"))
    .replace(/\b\d{13}-\d+\b/g, "<stream id>")
    .replace(/\b\d{13,16}\b/g, "<time>");
}

function ordered(value: unknown): unknown {
  if (typeof value === "string") return /^\[?\{/.test(value) ? ordered(parsed(value)) : value;
  if (Array.isArray(value)) return value.map(ordered);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(([key, each]) => [key, ordered(each)] as const);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text.replaceAll(/(?<!")<time>/g, "0")); // blanked by the dump
  } catch {
    return `not JSON: ${text}`;
  }
}

function differences(real: Record<string, unknown>, fake: Record<string, unknown>): string[] {
  return [...new Set([...Object.keys(real), ...Object.keys(fake)])].flatMap((key) => {
    const [expected, actual] = [real[key], fake[key]].map((value) =>
      blank(inTimeOrder.test(key) ? pairs(value) : value),
    );
    return expected === actual ? [] : [`${key}: real ${expected}, fake ${actual}`];
  });
}

/** Sorted sets by time, in which two members may have come in one millisecond. */
const inTimeOrder = /^(pending-jobs|state:.*|vms.*|deadlines|expiry|.*:(completed|failed|delayed)|ports-.*)$/;

function pairs(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  return value.flatMap((member, at) => (at % 2 === 0 ? [`${member} ${value[at + 1]}`] : [])).sort();
}
