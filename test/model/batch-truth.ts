import { readBatch } from "../../src/queue/batch-record.ts";
import { itemState } from "../../src/queue/batch-states.ts";
import type { RedisKeys } from "../../src/queue/redis-keys.ts";
import { vmIdOfItem } from "../../src/runtime/batch-id.ts";
import type { FakeRedis } from "./redis/fake-redis.ts";

/** The states that no item leaves; `failed` may be retried. */
const FOR_EVER = "scde";

interface Options {
  readonly server: FakeRedis;
  readonly keys: RedisKeys;
  /** Redis has had less than before: what is told since may be older. */
  readonly hasLost: () => boolean;
}

/** Knows what must never be of a batch, I12: every item is counted once, and progress only grows. */
export class BatchTruth {
  readonly #options: Options;
  readonly #letters = new Map<string, string>();

  constructor(options: Options) {
    this.#options = options;
  }

  get batchIds(): readonly string[] {
    const { server, keys } = this.#options;
    return [...(server.keys.read(keys.batches, "zset")?.scores.keys() ?? [])];
  }

  /** The first thing that is wrong right now. */
  violation(): string | undefined {
    for (const batchId of this.batchIds) {
      const { letters, batch } = this.#read(batchId);
      const before = this.#letters.get(batchId) ?? "";
      if (letters === before) continue;
      this.#letters.set(batchId, letters);
      if (batch === undefined) return `I12: batch ${batchId} is listed and not there`;
      const states = [...letters].map(itemState);
      for (const [state, count] of Object.entries(batch.counts)) {
        const there = states.filter((one) => one === state).length;
        if (count !== there) return `I12: batch ${batchId} counts ${count} items as ${state}, there are ${there}`;
      }
      if (states.length !== batch.total) return `I12: batch ${batchId} has ${states.length} of ${batch.total} items`;
      if (this.#options.hasLost()) continue;
      if (batch.live > (batch.maxParallel ?? batch.total)) return `I12: ${batch.live} VMs of batch ${batchId} at once`;
      for (const [index, letter] of [...before].entries())
        if (FOR_EVER.includes(letter) && letters[index] !== letter)
          return `I12: item ${index} of batch ${batchId} was '${letter}' and is '${letters[index]}'`;
    }
    return undefined;
  }

  /** What does not fit when nothing is under way; `empty`: every batch was cancelled a while ago. */
  scan(wanted: "settled" | "empty"): readonly string[] {
    const { server, keys } = this.#options;
    const found: string[] = [];
    for (const batchId of this.batchIds) {
      const { letters, batch } = this.#read(batchId);
      if (batch === undefined) continue;
      const hasRoom = batch.live < (batch.maxParallel ?? batch.total);
      if (batch.state === "active" && batch.counts.listed > 0 && hasRoom)
        found.push(`batch ${batchId} has room and ${batch.counts.listed} listed items`);
      if ((batch.ended === batch.total) !== (batch.state === "ended"))
        found.push(`batch ${batchId} is ${batch.state} with ${batch.ended} of ${batch.total} items ended`);
      if (wanted === "empty" && batch.state !== "ended") found.push(`batch ${batchId} is ${batch.state}`);
      for (const [index, letter] of [...letters].entries()) {
        const vmId = vmIdOfItem(batchId, index);
        const state = server.keys.read(keys.record(vmId), "hash")?.fields.get("state");
        if (state !== undefined && state !== itemState(letter) && letter !== "a")
          found.push(`${vmId} is ${state}, its batch counts it as ${itemState(letter)}`);
      }
    }
    return found;
  }

  #read(batchId: string) {
    const { server, keys } = this.#options;
    const letters = server.keys.read(keys.batchPart(batchId, "states"), "string")?.text ?? "";
    const fields = server.keys.read(keys.batch(batchId), "hash")?.fields ?? new Map<string, string>();
    return { letters, batch: readBatch(Object.fromEntries(fields)) };
  }
}
