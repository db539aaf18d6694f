import { randomUUID } from "node:crypto";
import { z } from "zod";
import { LineProblem } from "../contract/batch.ts";
import type { CauseCode } from "../contract/causes.ts";
import { RECORD_VERSION, VmRecord } from "../contract/vm-record.ts";
import { itemOfVmId, vmIdOfItem } from "../runtime/batch-id.ts";
import { type BatchItemPage, findLetters, type ItemFilter, listItems, readEnds } from "./batch-items.ts";
import { type BatchFilter, type BatchPage, listBatches } from "./batch-list.ts";
import { readManifest, readProblems } from "./batch-manifest.ts";
import { type BatchRecord, readBatch, readPace } from "./batch-record.ts";
import { itemState, lettersOf } from "./batch-states.ts";
import { BatchUpload } from "./batch-upload.ts";
import { itemRequest } from "./batch-vms.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import type { RedisKeys } from "./redis-keys.ts";

const cancelScript = loadScript("batch-cancel-2");
const retryScript = loadScript("batch-retry-2");
const dropScript = loadScript("batch-drop-2");

const CancelReply = z.enum(["not_found", "ended", "cancelling"]);
const DropReply = z.enum(["removed", "final", "not_listed"]);
const RETRY_STEP_ITEMS = 100;
const REFUSED_MAX = 100;

/** `cancelling`: its VMs are being removed from now on, or have been already. `ended`: it had ended before. */
export type CancelOutcome = z.infer<typeof CancelReply>;

export interface RefusedRetry {
  readonly vmId: string;
  /** As for the retry of a single VM. `vm_gone`: its record is deleted already. */
  readonly code: "vm_gone" | "secrets_gone" | "vm_removed";
}

export interface RetryOutcome {
  readonly kind: "retried" | "not_found" | "cancelling";
  /** Items that are listed again; the feeder puts them into the queue, within the batch's bounds. */
  readonly retried: number;
  /** Failed items that cannot be retried, the first 100 of them. */
  readonly refused: readonly RefusedRetry[];
}

/** What the API does with batches. `BatchFeeder` keeps them going; the scripts that move VMs count them. */
export class BatchStore {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: { redis: RedisClient; keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Begins an upload. With an idempotency key the batch's id, and so the ids of all its VMs, follow from owner and key.
   * Nothing of it is to be seen before `commit`; what was staged goes by itself when nothing is added for ten minutes.
   */
  newUpload({ owner, idempotencyKey }: { owner: string; idempotencyKey: string | undefined }): BatchUpload {
    return new BatchUpload({ redis: this.#redis, keys: this.#keys, owner, idempotencyKey });
  }

  /** The batch with its counts, or undefined when there is none. Throws a zod error when Redis holds something else there. */
  async get(batchId: string): Promise<BatchRecord | undefined> {
    const [hash, problems, pace] = await Promise.all([
      this.#redis.hgetall(this.#keys.batch(batchId)),
      readProblems(this.#source, batchId),
      this.#redis.lrange(this.#keys.batchPart(batchId, "pace"), 0, -1),
    ]);
    return readBatch(hash, { problems: z.array(LineProblem).parse(problems), pace: readPace(pace) });
  }

  /** Newest first. Throws `invalid_request` when the cursor is none of ours. */
  async list(filter: BatchFilter): Promise<BatchPage> {
    return listBatches(this.#source, filter);
  }

  /**
   * Items in order of their index, bounded in memory and in the time that Redis is held. A page may be short, or empty,
   * and still have a next one. Throws `invalid_request` when the cursor is none of ours.
   */
  async items(batchId: string, filter: ItemFilter): Promise<BatchItemPage> {
    return listItems(this.#source, batchId, filter);
  }

  /** Stops the feeding at once: what is listed is skipped, and feeders remove the VMs that are there, in small steps. Idempotent. */
  async cancel(batchId: string, by: string): Promise<CancelOutcome> {
    return CancelReply.parse(await cancelScript.run(this.#redis, this.#batchKeys(batchId), { batchId, by }));
  }

  /** Lists the failed items again, all or those of one cause; the batch is active again. Doing it twice is harmless. */
  async retryFailed(batchId: string, cause?: CauseCode): Promise<RetryOutcome> {
    const refused: RefusedRetry[] = [];
    let retried = 0;
    for (let next: number | undefined = 0; next !== undefined; ) {
      const step = await findLetters(this.#source, batchId, {
        from: next,
        letters: lettersOf(["failed"]),
        count: RETRY_STEP_ITEMS,
      });
      const failed = step.found.map(({ index }) => index);
      const ends = cause === undefined ? undefined : await readEnds(this.#source, batchId, failed);
      const wanted = failed.filter((index) => ends === undefined || ends.get(index)?.cause === cause);
      const refusals = await this.#refusals(wanted.map((index) => vmIdOfItem(batchId, index)));
      const items = wanted.filter((_index, at) => refusals[at] === undefined);
      refused.push(...refusals.filter((refusal) => refusal !== undefined).slice(0, REFUSED_MAX - refused.length));
      const listed = z
        .number()
        .parse(await retryScript.run(this.#redis, this.#batchKeys(batchId), { batchId, items, nonce: randomUUID() }));
      if (listed < 0) return { kind: listed === -1 ? "not_found" : "cancelling", retried, refused };
      retried += listed;
      next = step.next;
    }
    return { kind: "retried", retried, refused };
  }

  /**
   * The VM of an item that has no record yet, as if it waited in the queue (or, where it was taken from the list, as
   * removed); undefined when the id is none of such an item.
   */
  async listedVm(vmId: string): Promise<VmRecord | undefined> {
    const place = itemOfVmId(vmId);
    if (place === undefined) return undefined;
    const { batchId, index } = place;
    const [hash, letter, manifest] = await Promise.all([
      this.#redis.hgetall(this.#keys.batch(batchId)),
      this.#redis.getrange(this.#keys.batchPart(batchId, "states"), index, index),
      readManifest(this.#source, batchId, [index]),
    ]);
    const batch = readBatch(hash);
    const item = manifest.get(index);
    if (batch === undefined || item === undefined || letter === "") return undefined;
    const state = itemState(letter);
    const isTaken = state === "skipped" || state === "removed";
    if (!isTaken && state !== "listed") return undefined;
    const { spec, pool, priority, attempts } = itemRequest(batch, item.spec);
    const atMs = String(batch.createdAtMs);
    return VmRecord.parse({
      v: RECORD_VERSION,
      vmId,
      batch: batchId,
      owner: batch.owner,
      pool,
      priority,
      jobPriority: 1,
      spec: JSON.stringify(spec),
      digest: batch.digest,
      attempts,
      hasSecrets: batch.shared === undefined ? "0" : "1",
      state: isTaken ? "removed" : "queued",
      epoch: 0,
      seq: 0,
      createdAtMs: atMs,
      stateAtMs: atMs,
      ...(isTaken ? { endedAtMs: atMs, endReason: "requested" } : {}),
    });
  }

  /**
   * Takes one item from the list for good, by its VM's id. `not_listed`: the id is no item's, or its VM has a record by
   * now (ask `VmStore.requestRemoval`). `final`: it had been taken already.
   */
  async removeListed(vmId: string): Promise<z.infer<typeof DropReply>> {
    const place = itemOfVmId(vmId);
    if (place === undefined) return "not_listed";
    return DropReply.parse(await dropScript.run(this.#redis, this.#batchKeys(place.batchId), place));
  }

  get #source() {
    return { redis: this.#redis, keys: this.#keys };
  }

  #batchKeys(batchId: string): string[] {
    return [this.#keys.batch(batchId), this.#keys.events];
  }

  /** Why VMs cannot be retried, in the same order; undefined for those that can. */
  async #refusals(vmIds: readonly string[]): Promise<(RefusedRetry | undefined)[]> {
    const keys = this.#keys;
    const pipeline = this.#redis.pipeline();
    for (const vmId of vmIds)
      pipeline.hget(keys.record(vmId), "hasSecrets").exists(keys.box(vmId)).exists(keys.mark(vmId));
    const replies = (await pipeline.exec()) ?? [];
    for (const [error] of replies) if (error !== null) throw error;
    return vmIds.map((vmId, at) => {
      const [[, hasSecrets] = [], [, hasBox] = [], [, isMarked] = []] = replies.slice(at * 3, at * 3 + 3);
      if (isMarked === 1) return { vmId, code: hasSecrets === null ? "vm_gone" : "vm_removed" };
      if (hasSecrets === null) return { vmId, code: "vm_gone" };
      return hasSecrets === "1" && hasBox === 0 ? { vmId, code: "secrets_gone" } : undefined;
    });
  }
}
