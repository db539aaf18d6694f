import { randomUUID } from "node:crypto";
import { z } from "zod";
import { askedPool } from "../contract/placement.ts";
import type { VmEventData } from "../contract/vm-event.ts";
import { RECORD_VERSION, VmRecord } from "../contract/vm-record.ts";
import type { PriorityClass, VmSpec } from "../contract/vm-request.ts";
import { FINAL_STATES, WAITING_STATES } from "../contract/vm-state.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { TraceContext } from "../runtime/tracing/tracer.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import { PRIORITY_SCALE } from "./priority-scale.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";
import { type ListFilter, listRecords, type RecordPage } from "./vm-list.ts";

const acceptScript = loadScript("accept-13");
const removeScript = loadScript("remove-15");
const retryScript = loadScript("retry-13");

const AcceptReply = z
  .tuple([z.enum(["accepted", "replayed", "conflict", "gone"]), z.string()])
  .rest(z.array(z.string()));
const RemoveReply = z.tuple([z.enum(["not_found", "removed", "marked", "final", "not_due"]), z.string()]);
const RetryReply = z.enum(["queued", "not_found", "not_failed", "secrets_gone", "marked", "full"]);
const Mark = z.object({ reason: z.string(), by: z.string(), atMs: z.number(), owner: z.string().optional() });

export interface AcceptInput {
  readonly vmId: string;
  readonly owner: string;
  /** Digest of the whole request: the same idempotency key with another digest is a conflict. */
  readonly digest: string;
  readonly spec: VmSpec;
  readonly sealedSecrets: string | undefined;
  readonly pool: string;
  readonly priority: PriorityClass;
  readonly attempts: number;
  readonly queueTimeoutMs: number | undefined;
  readonly idempotencyKey: string | undefined;
  /** Where the span of its acceptance stands: all its spans belong to that trace. */
  readonly trace?: TraceContext | undefined;
}

export interface AcceptOutcome {
  readonly kind: z.infer<typeof AcceptReply>[0];
  readonly vmId: string;
  /** What was written, when the request was accepted now. */
  readonly record?: VmRecord;
}

export interface RemovalRequest {
  readonly vmId: string;
  readonly reason: "requested" | "ttl" | "queue_timeout";
  readonly by: string;
  /** Skips the polite steps of the stop ladder. */
  readonly force?: boolean;
  /** Leaves a VM alone that a host has (`not_due`). */
  readonly waitingOnly?: boolean;
}

export interface HandRetry {
  readonly vmId: string;
  readonly by: string;
  /** Only while fewer VMs of a batch (its key) than this wait or live: `full` else. */
  readonly within?: { readonly batch: string; readonly window: number };
}

export interface RemovalOutcome {
  /** `marked`: a host has the VM and must prove its end; tell it. `final`: it had ended already. */
  readonly kind: z.infer<typeof RemoveReply>[0];
  readonly host?: string;
}

export interface VmStoreOptions {
  readonly redis: RedisClient;
  readonly keys: RedisKeys;
  readonly eventsMax: number;
  readonly keep: Config["keep"];
}

/** What API and sweepers do with VM records. Moves by a launch's owner are in `LaunchStore`. */
export class VmStore {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  readonly #eventsMax: number;
  readonly #keep: Config["keep"];

  constructor({ redis, keys, eventsMax, keep }: VmStoreOptions) {
    this.#redis = redis;
    this.#keys = keys;
    this.#eventsMax = eventsMax;
    this.#keep = keep;
  }

  /** ACCEPT. The caller then adds the job with `VmQueue.enqueue`; if it dies before, a sweeper does. */
  async accept(input: AcceptInput): Promise<AcceptOutcome> {
    const keys = this.#keys;
    const eventData: VmEventData<"vm.queued"> = { pool: askedPool(input.pool), reason: "accepted" };
    const reply = await acceptScript.run(
      this.#redis,
      [
        keys.record(input.vmId),
        keys.events,
        keys.statePrefix,
        keys.allVms,
        keys.ownedVms(input.owner),
        keys.box(input.vmId),
        keys.mark(input.vmId),
        keys.pendingJobs,
        keys.deadlines,
        keys.fairness(input.pool),
        keys.pools,
        keys.idempotency(input.owner, input.idempotencyKey ?? ""),
        keys.bull(poolQueueName(input.pool), "prioritized"),
      ],
      {
        vmId: input.vmId,
        digest: input.digest,
        owner: input.owner,
        pool: input.pool,
        class: input.priority,
        ...PRIORITY_SCALE,
        recordPrefix: keys.record(""),
        idempotent: input.idempotencyKey !== undefined,
        sealed: input.sealedSecrets ?? null,
        queueTimeoutMs: input.queueTimeoutMs ?? null,
        eventData: JSON.stringify(eventData),
        eventsMax: this.#eventsMax,
        fields: {
          v: String(RECORD_VERSION),
          owner: input.owner,
          pool: input.pool,
          priority: input.priority,
          spec: JSON.stringify(input.spec),
          attempts: String(input.attempts),
          attemptsMade: "0",
          hasSecrets: input.sealedSecrets === undefined ? "0" : "1",
          ...(input.trace === undefined ? {} : { trace: input.trace }),
        },
      },
    );
    const [kind, vmId, fields] = AcceptReply.parse(reply);
    return fields === undefined ? { kind, vmId } : { kind, vmId, record: VmRecord.parse(toObject(fields)) };
  }

  /** The record, or undefined when there is none. Throws a zod error when Redis holds something else there. */
  async get(vmId: string): Promise<VmRecord | undefined> {
    const fields = await this.#redis.hgetall(this.#keys.record(vmId));
    return Object.keys(fields).length === 0 ? undefined : VmRecord.parse(fields);
  }

  /** The removal mark or tombstone; it outlives the record. */
  async removalMark(vmId: string): Promise<z.infer<typeof Mark> | undefined> {
    const text = await this.#redis.get(this.#keys.mark(vmId));
    return text === null ? undefined : Mark.parse(JSON.parse(text));
  }

  async list(filter: ListFilter): Promise<RecordPage> {
    return listRecords(this.#redis, this.#keys, filter);
  }

  async tail(vmId: string): Promise<{ console: string; qemu: string } | undefined> {
    const [console, qemu] = await this.#redis.hmget(this.#keys.tail(vmId), "console", "qemu");
    return console == null && qemu == null ? undefined : { console: console ?? "", qemu: qemu ?? "" };
  }

  /** REMOVE: from here on the VM never runs again. Idempotent. */
  async requestRemoval({
    vmId,
    reason,
    by,
    force = false,
    waitingOnly = false,
  }: RemovalRequest): Promise<RemovalOutcome> {
    const keys = this.#keys;
    const pool = await this.#redis.hget(keys.record(vmId), "pool");
    if (pool === null) return { kind: "not_found" };
    const queue = poolQueueName(pool);
    const state = reason === "requested" ? "removed" : "expired";
    const reply = await removeScript.run(
      this.#redis,
      [
        keys.record(vmId),
        keys.events,
        keys.statePrefix,
        keys.mark(vmId),
        keys.bull(queue, vmId),
        keys.bull(queue, "wait"),
        keys.bull(queue, "prioritized"),
        keys.bull(queue, "delayed"),
        keys.bull(queue, "completed"),
        keys.deadlines,
        keys.expiry,
        keys.box(vmId),
        keys.pendingJobs,
        keys.console(vmId),
        keys.bull(queue, "paused"),
      ],
      {
        vmId,
        reason,
        by,
        force,
        waitingOnly,
        keepMs: this.#keep.completedMs,
        eventsMax: this.#eventsMax,
        final: FINAL_STATES,
        waiting: WAITING_STATES,
        returnvalue: JSON.stringify({ outcome: state, reason }),
        progress: JSON.stringify({ state }),
      },
    );
    const [kind, host] = RemoveReply.parse(reply);
    return host === "" ? { kind } : { kind, host };
  }

  /** Puts a failed VM back into the queue with all its attempts; its epoch goes on counting. */
  async retryByHand({ vmId, within }: HandRetry): Promise<{ kind: z.infer<typeof RetryReply> }> {
    const keys = this.#keys;
    const pool = await this.#redis.hget(keys.record(vmId), "pool");
    if (pool === null) return { kind: "not_found" };
    const queue = poolQueueName(pool);
    const eventData: VmEventData<"vm.queued"> = { pool: askedPool(pool), reason: "retried_by_hand" };
    const reply = await retryScript.run(
      this.#redis,
      [
        keys.record(vmId),
        keys.events,
        keys.statePrefix,
        keys.mark(vmId),
        keys.bull(queue, vmId),
        keys.bull(queue, "failed"),
        keys.bull(queue, "prioritized"),
        keys.bull(queue, "pc"),
        keys.bull(queue, "marker"),
        keys.box(vmId),
        keys.expiry,
        keys.tail(vmId),
        keys.deadlines,
      ],
      {
        vmId,
        eventData: JSON.stringify(eventData),
        eventsMax: this.#eventsMax,
        progress: JSON.stringify({ state: "queued" }),
        nonce: randomUUID(),
        queueTimeoutMs: null,
        within: within ?? null,
      },
    );
    return { kind: RetryReply.parse(reply) };
  }

  /** A sign of life of the server that holds our keys; on a cluster, a ping may be answered by any. */
  async ping(): Promise<void> {
    await this.#redis.exists(this.#keys.pools);
  }
}

/** Names and values in turn, as a script gives a hash. */
function toObject(flat: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (let at = 0; at + 1 < flat.length; at += 2) fields[flat[at] ?? ""] = flat[at + 1] ?? "";
  return fields;
}
