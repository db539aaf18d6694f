import { randomBytes, randomUUID } from "node:crypto";
import { z } from "zod";
import type { LineProblem } from "../contract/batch.ts";
import type { VmSpec } from "../contract/vm-request.ts";
import { batchIdOf, vmIdOfItem } from "../runtime/batch-id.ts";
import type { TraceContext } from "../runtime/tracing/tracer.ts";
import { ManifestWriter } from "./batch-manifest.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import type { RedisKeys } from "./redis-keys.ts";

const commitScript = loadScript("batch-commit-12");

/** What is staged goes by itself when nothing is added to it for so long. */
const STAGED_MS = 10 * 60_000;
/** Sent to Redis at once: large enough to be quick, small enough that others get their turn. */
const FLUSH_CHARS = 128 * 1024;
const FLUSH_ITEMS = 1_000;

const CommitReply = z.tuple([z.enum(["accepted", "replayed", "conflict", "gone", "lost"]), z.string()]);

/** One request of a batch, in two parts, its secrets sealed. */
export interface UploadItem {
  /** Its line in what was sent, from 1. */
  readonly line: number;
  /**
   * What the item says itself, without the batch's defaults: these are put under it when it is fed (`withDefaults`). An
   * empty text means "not set" and hides the default, so leave it in.
   */
  readonly spec: VmSpec;
  /** The item's own secrets, sealed for `{ owner, vmId: upload.vmId(index) }`. An empty text in them hides a shared one. */
  readonly sealed?: string | undefined;
}

export interface BatchCommit {
  /** Digest of the whole content: the same idempotency key with another digest is a conflict. */
  readonly digest: string;
  readonly name?: string | undefined;
  /** Defaults without secrets; without fields when there are none. */
  readonly defaults: VmSpec;
  /** The shared secrets, sealed for `{ owner, vmId: upload.batchId }`. */
  readonly sealed?: string | undefined;
  readonly maxParallel?: number | undefined;
  readonly stopAfterFailures?: number | undefined;
  /** Pool and attempts where neither an item nor the defaults say any: as this API gives them to single requests. */
  readonly pool: string;
  readonly attempts: number;
  /** Lines that were left out, and the first of their problems; they answer a repeated request. */
  readonly rejected: number;
  readonly problems: readonly LineProblem[];
  readonly eventsMax: number;
  /** Where the span of the request stands. */
  readonly trace?: TraceContext | undefined;
}

/**
 * - `accepted`: it is there, whole, and is being fed.
 * - `replayed`: the idempotency key had been used with this digest. What was staged is gone again.
 * - `conflict`: it had been used with another digest; `digest` is that one (it may be the same content under an older
 *   sealing key, as for single requests).
 * - `gone`: it had been used, and that batch is deleted by now.
 * - `lost`: what was staged is not there any more (nothing was added for ten minutes, or Redis lost it): send it again.
 */
export interface CommitOutcome {
  readonly kind: z.infer<typeof CommitReply>[0];
  readonly digest: string;
}

export interface UploadOptions {
  readonly redis: RedisClient;
  readonly keys: RedisKeys;
  readonly owner: string;
  readonly idempotencyKey: string | undefined;
}

/** A batch on its way in: items are staged in chunks, and become a batch by one script or not at all. */
export class BatchUpload {
  readonly batchId: string;
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  readonly #owner: string;
  readonly #uploadId = randomUUID();
  readonly #manifest = new ManifestWriter();
  #items: string[] = [];
  #boxes: string[] = [];
  #itemFields = 0;
  #boxFields = 0;
  #waitingChars = 0;
  #waitingItems = 0;

  constructor({ redis, keys, owner, idempotencyKey }: UploadOptions) {
    this.#redis = redis;
    this.#keys = keys;
    this.#owner = owner;
    this.batchId = batchIdOf(idempotencyKey === undefined ? randomBytes(32) : `${owner}\0${idempotencyKey}`);
  }

  /** How many items were added. The next one has this index. */
  get total(): number {
    return this.#manifest.total;
  }

  /** The id of the VM of an item, by its index. */
  vmId(index: number): string {
    return vmIdOfItem(this.batchId, index);
  }

  /** Adds the next item. Resolves at once most times; now and then only when Redis has taken what was added (await it). */
  async add({ sealed, ...item }: UploadItem): Promise<void> {
    const index = this.total;
    this.#stage(this.#manifest.add(item));
    if (sealed !== undefined) {
      this.#boxes.push(String(index), sealed);
      this.#boxFields += 1;
      this.#waitingChars += sealed.length;
    }
    this.#waitingItems += 1;
    if (this.#waitingChars >= FLUSH_CHARS || this.#waitingItems >= FLUSH_ITEMS) await this.#flush();
  }

  /** Makes the batch of what was added. Sent again after a lost reply it gives the same answer. */
  async commit(batch: BatchCommit): Promise<CommitOutcome> {
    const keys = this.#keys;
    const { batchId } = this;
    this.#stage([...this.#manifest.end(), ...this.#manifest.problems(batch.problems)]);
    await this.#flush();
    const reply = await commitScript.run(
      this.#redis,
      [
        keys.batch(batchId),
        keys.batchPart(batchId, "items"),
        keys.batchPart(batchId, "boxes"),
        keys.batchUpload(this.#uploadId, "items"),
        keys.batchUpload(this.#uploadId, "boxes"),
        keys.batchTombstone(batchId),
        keys.events,
        keys.batches,
        keys.ownedBatches(this.#owner),
        keys.openBatches,
        keys.dueBatches,
        keys.batchPart(batchId, "states"),
      ],
      {
        batchId,
        upload: this.#uploadId,
        digest: batch.digest,
        total: this.total,
        itemFields: this.#itemFields,
        boxFields: this.#boxFields,
        name: batch.name,
        fields: {
          v: "1",
          owner: this.#owner,
          name: batch.name,
          defaults: JSON.stringify(batch.defaults),
          shared: batch.sealed,
          maxParallel: batch.maxParallel,
          stopAfterFailures: batch.stopAfterFailures,
          pool: batch.pool,
          attempts: batch.attempts,
          rejected: batch.rejected,
          eventsMax: batch.eventsMax,
          trace: batch.trace,
        },
      },
    );
    const [kind, digest] = CommitReply.parse(reply);
    return { kind, digest };
  }

  /** Throws away what was staged, for an upload that was cut off or refused. It would go by itself a little later. */
  async abandon(): Promise<void> {
    await this.#redis.unlink(
      this.#keys.batchUpload(this.#uploadId, "items"),
      this.#keys.batchUpload(this.#uploadId, "boxes"),
    );
  }

  #stage(fields: readonly (readonly [field: string, value: string])[]): void {
    for (const [field, value] of fields) {
      this.#items.push(field, value);
      this.#itemFields += 1;
      this.#waitingChars += value.length;
    }
  }

  async #flush(): Promise<void> {
    const pipeline = this.#redis.pipeline();
    const staged = [
      [this.#keys.batchUpload(this.#uploadId, "items"), this.#items],
      [this.#keys.batchUpload(this.#uploadId, "boxes"), this.#boxes],
    ] as const;
    for (const [key, fields] of staged) {
      if (fields.length > 0) pipeline.hset(key, ...fields);
      pipeline.pexpire(key, STAGED_MS);
    }
    this.#items = [];
    this.#boxes = [];
    this.#waitingChars = 0;
    this.#waitingItems = 0;
    for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error;
  }
}
