import { setImmediate as yieldToOthers } from "node:timers/promises";
import { z } from "zod";
import { vmIdOfItem } from "../runtime/batch-id.ts";
import type { KeyRing } from "../runtime/key-ring.ts";
import type { Tracer } from "../runtime/tracing/tracer.ts";
import { BatchAdmission } from "./batch-admission.ts";
import { findLetters } from "./batch-items.ts";
import { type BatchRecord, readBatch } from "./batch-record.ts";
import { AGAIN_LETTER, type ItemState, LIVE_STATES, lettersOf } from "./batch-states.ts";
import { canSeal } from "./batch-vms.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import type { RedisKeys } from "./redis-keys.ts";
import type { VmQueue } from "./vm-queue.ts";
import type { VmStore } from "./vm-store.ts";

const recountScript = loadScript("batch-recount-2");

/** Items of one step: Redis and this process are free for others in between. */
const STEP_ITEMS = 50;

/**
 * - `more`: there may be more to do right now.
 * - `done`: nothing until an end or a word of somebody makes the batch due again.
 * - `no_key`: its shared secrets can be opened with none of the keys here.
 */
export type StepOutcome = "more" | "done" | "no_key";

export interface FeedingOptions {
  readonly redis: RedisClient;
  readonly keys: RedisKeys;
  readonly store: VmStore;
  readonly queue: VmQueue;
  readonly keyRing: KeyRing;
  /** How many VMs of one batch wait or live at once, unless the batch says less. */
  readonly windowItems: number;
  /** Traces nothing when left out. */
  readonly tracer?: Tracer;
}

/** The work on one batch, in small steps: any number of feeders may do them on the same batch at the same time. */
export class BatchFeeding {
  readonly #options: FeedingOptions;
  readonly #admission: BatchAdmission;

  constructor(options: FeedingOptions) {
    this.#options = options;
    this.#admission = new BatchAdmission(options);
  }

  /** Does the next step. Throws when Redis cannot be reached; whatever was done until then is whole. */
  async step(batchId: string): Promise<StepOutcome> {
    const { redis, keys } = this.#options;
    const batch = readBatch(await redis.hgetall(keys.batch(batchId)));
    switch (batch?.state) {
      case "active":
        return this.#feed(batch);
      case "stopping":
        await this.#removeAll(batch, { states: ["queued", "retrying"], by: "drover", waitingOnly: true });
        return "done";
      case "cancelling":
        if (batch.removing === undefined) return "done"; // all of them are removed, or marked for it
        await this.#removeAll(batch, { states: LIVE_STATES, by: batch.removing, waitingOnly: false });
        await redis.hdel(keys.batch(batchId), "removing");
        return "done";
      default:
        return "done";
    }
  }

  /** Counts the live items by their VMs' records, for ends that nobody has counted; gives how many stood wrong. */
  async recount(batchId: string): Promise<number> {
    let mended = 0;
    for await (const indexes of this.#live(batchId, LIVE_STATES)) mended += await this.#recountItems(batchId, indexes);
    return mended;
  }

  async #feed(batch: BatchRecord): Promise<StepOutcome> {
    const { batchId, counts, live, next } = batch;
    const window = Math.min(batch.maxParallel ?? Number.POSITIVE_INFINITY, this.#options.windowItems);
    const room = Math.min(window - live, STEP_ITEMS);
    if (room < 1 || counts.listed === 0) return "done";
    if (!canSeal(batch, this.#options.keyRing.current)) return "no_key";
    const ahead = await this.#find(batchId, { from: next, states: ["listed"], count: room });
    // What stands before `next` was listed while a feeder moved it on.
    const { found } =
      ahead.found.length > 0 ? ahead : await this.#find(batchId, { from: 0, states: ["listed"], count: room });
    const fresh: number[] = [];
    for (const { index, letter } of found) {
      if (letter !== AGAIN_LETTER) fresh.push(index);
      else if ((await this.#retry(batch, index, window)) === "full") return "done";
    }
    if (fresh.length > 0) await this.#admission.admit(batch, fresh, window);
    return found.length > 0 ? "more" : "done";
  }

  /** Puts a failed VM back into the queue. One that cannot be retried any more has failed as before. */
  async #retry({ batchId, owner }: BatchRecord, index: number, window: number): Promise<"full" | "settled"> {
    const { store, keys } = this.#options;
    const within = { batch: keys.batch(batchId), window };
    const { kind } = await store.retryByHand({ vmId: vmIdOfItem(batchId, index), by: owner, within });
    if (kind === "full") return "full";
    if (kind !== "queued") await this.#recountItems(batchId, [index]);
    return "settled";
  }

  async #removeAll(
    { batchId }: BatchRecord,
    { states, by, waitingOnly }: { states: readonly ItemState[]; by: string; waitingOnly: boolean },
  ): Promise<void> {
    const { store, queue } = this.#options;
    for await (const indexes of this.#live(batchId, states)) {
      await Promise.all(
        indexes.map(async (index) => {
          const vmId = vmIdOfItem(batchId, index);
          const { kind, host } = await store.requestRemoval({ vmId, reason: "requested", by, waitingOnly });
          if (kind === "marked" && host !== undefined) await queue.notifyRemoval(host, vmId);
        }),
      );
    }
  }

  /** The indexes of the items in these states, step by step; others get their turn in between. */
  async *#live(batchId: string, states: readonly ItemState[]): AsyncGenerator<readonly number[]> {
    for (let from: number | undefined = 0; from !== undefined; ) {
      const step: Awaited<ReturnType<typeof findLetters>> = await this.#find(batchId, {
        from,
        states,
        count: STEP_ITEMS,
      });
      if (step.found.length > 0) yield step.found.map(({ index }) => index);
      from = step.next;
      await yieldToOthers();
    }
  }

  #find(
    batchId: string,
    { from, states, count }: { readonly from: number; readonly states: readonly ItemState[]; readonly count: number },
  ): ReturnType<typeof findLetters> {
    return findLetters(this.#options, batchId, { from, letters: lettersOf(states), count });
  }

  async #recountItems(batchId: string, indexes: readonly number[]): Promise<number> {
    const { redis, keys } = this.#options;
    const items = indexes.map((index) => ({ index, record: keys.record(vmIdOfItem(batchId, index)) }));
    const reply = await recountScript.run(redis, [keys.batch(batchId), keys.events], { batchId, items });
    return z.number().parse(reply);
  }
}
