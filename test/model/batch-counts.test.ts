import fc from "fast-check";
import { test } from "vitest";
import { itemState } from "../../src/queue/batch-states.ts";
import { redisKeys } from "../../src/queue/redis-keys.ts";
import { fakeClient } from "./redis/fake-client.ts";
import { FakeRedis } from "./redis/fake-redis.ts";
import { carryOut, type Operation, operationLists } from "./redis/store-operations.ts";
import { BATCH_ID, directTransport, openStoreSide, type StoreSide, VM_IDS } from "./redis/store-side.ts";

const LISTS = Number(process.env["DROVER_LISTS"] ?? 300);
const seed = Number(process.env["SEED"] ?? 20_264);
const keys = redisKeys("{d}");
const ENDED = "scdef";

test("whatever happens to its VMs, a batch counts each item once, where its VM is, and ends with the last of them", {
  timeout: 120_000,
}, async () => {
  let batches = 0;
  let ends = 0;
  const server = new FakeRedis(() => Date.now());
  const openFake = () => fakeClient(() => directTransport(server));
  const parts = { redis: openFake(), bull: openFake(), keys };
  await fc.assert(
    fc.asyncProperty(operationLists, async (operations) => {
      server.keys.loseAll();
      const side = openStoreSide(parts);
      // A record that somebody deletes in Redis is found by the next recount only; a single request has an id of its own.
      const kept = operations.filter(({ name, vm }) => name !== "loseRecord" && (name !== "accept" || vm < 2));
      let before = "";
      for (const operation of kept) {
        await carryOut(side, operation);
        const letters = await check(side, operation, before);
        if (letters !== before) batches += 1;
        before = letters;
      }
      if (before !== "" && [...before].every((letter) => ENDED.includes(letter))) ends += 1;
    }),
    { seed, numRuns: LISTS },
  );
  if (batches < LISTS || ends < LISTS / 100)
    throw new Error(`hardly anything happened: ${batches} moves, ${ends} ends`);
});

/** Throws when the batch does not say what is so; gives the letters of its items. */
async function check({ redis, batches }: StoreSide, { name }: Operation, before: string): Promise<string> {
  const fail = (what: string) => {
    throw new Error(`after ${name}: ${what}`);
  };
  const letters = (await redis.get(keys.batchPart(BATCH_ID, "states"))) ?? "";
  const batch = await batches.get(BATCH_ID);
  if (batch === undefined) return letters === "" ? "" : fail("a batch that is gone has left something");
  const ends = await redis.hgetall(keys.batchPart(BATCH_ID, "ends"));
  const counts: Record<string, number> = {};
  const causes: Record<string, number> = {};
  for (const [index, letter] of [...letters].entries()) {
    const state = itemState(letter);
    counts[state] = (counts[state] ?? 0) + 1;
    const end = ends[index];
    if ((end !== undefined) !== "cdefa".includes(letter)) fail(`item ${index} is ${state}, and its end: ${end}`);
    const record = await redis.hgetall(keys.record(VM_IDS[index + 2] ?? ""));
    if (letter === "f") causes[JSON.parse(end ?? "[]")[2]] = (causes[JSON.parse(end ?? "[]")[2]] ?? 0) + 1;
    const isRecordKept = record["state"] !== undefined && letter !== "a";
    if (isRecordKept && record["state"] !== state) fail(`item ${index} is ${state}, its VM is ${record["state"]}`);
    if ("de".includes(before[index] ?? " ") && before[index] !== letter) fail(`item ${index} came back from its end`);
  }
  for (const [state, count] of Object.entries(batch.counts)) {
    if (count !== (counts[state] ?? 0)) fail(`${count} items counted as ${state}, there are ${counts[state] ?? 0}`);
  }
  for (const { cause, count } of batch.failures)
    if (causes[cause] !== count) fail(`${count} counted as ${cause}, there are ${causes[cause]}`);
  const isOver = [...letters].every((letter) => ENDED.includes(letter));
  if (isOver !== (batch.state === "ended")) fail(`${letters} in a batch that is ${batch.state}`);
  if (isOver === ((await redis.sismember(keys.openBatches, BATCH_ID)) === 1)) fail("open-batches says another thing");
  return letters;
}
