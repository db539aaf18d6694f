import { z } from "zod";
import { type CloudEvent, VM_EVENT_TYPES } from "../contract/vm-event.ts";
import type { RedisClient } from "./connection.ts";
import type { RedisKeys } from "./redis-keys.ts";

export interface StoredEvent {
  /** Id in the stream: grows over all VMs, is what a reader resumes after. */
  readonly id: string;
  readonly event: CloudEvent;
}

const Fields = z.object({
  type: z.enum(VM_EVENT_TYPES),
  vm: z.string(),
  owner: z.string(),
  seq: z.string(),
  at: z.coerce.number(),
  data: z.string(),
});

type StreamEntry = readonly [id: string, fields: readonly string[]];

/** Reads the event stream. Written only by the scripts that change a VM's state. */
export class EventLog {
  readonly #redis: RedisClient;
  readonly #events: string;

  constructor({ redis, keys }: { redis: RedisClient; keys: RedisKeys }) {
    this.#redis = redis;
    this.#events = keys.events;
  }

  /** Events after a stream id (exclusive), oldest first; empty at the end. `after: "0"` starts at the oldest that is kept. */
  async read({ after, count }: { after: string; count: number }): Promise<StoredEvent[]> {
    for (let from = after; ; ) {
      const entries = await this.#redis.xrange(this.#events, `(${from}`, "+", "COUNT", count);
      const events = toEvents(entries);
      if (events.length > 0 || entries.length < count) return events;
      from = entries.at(-1)?.[0] ?? from; // a page of types that this version does not know is not the end
    }
  }

  /** Ids of the oldest and newest event that are kept; `lastId` is "0-0" before the first event ever. */
  async bounds(): Promise<{ firstId: string | undefined; lastId: string }> {
    const [first, last] = await Promise.all([
      this.#redis.xrange(this.#events, "-", "+", "COUNT", 1),
      this.#redis.xrevrange(this.#events, "+", "-", "COUNT", 1),
    ]);
    return { firstId: first[0]?.[0], lastId: last[0]?.[0] ?? "0-0" };
  }

  /** Waits up to `blockMs` for events after `after`. The connection must be this reader's own. */
  async readBlocking({
    after,
    count,
    blockMs,
  }: {
    after: string;
    count: number;
    blockMs: number;
  }): Promise<StoredEvent[]> {
    for (let from = after; ; ) {
      const reply = await this.#redis.xread("COUNT", count, "BLOCK", blockMs, "STREAMS", this.#events, from);
      const entries = reply?.[0]?.[1] ?? [];
      const events = toEvents(entries);
      if (events.length > 0 || entries.length === 0) return events;
      from = entries.at(-1)?.[0] ?? from;
    }
  }
}

/** Orders two stream ids: negative when `a` comes first. */
export function compareStreamIds(a: string, b: string): number {
  const [aMs = "0", aSeq = "0"] = a.split("-");
  const [bMs = "0", bSeq = "0"] = b.split("-");
  const byMs = BigInt(aMs) - BigInt(bMs);
  const difference = byMs === 0n ? BigInt(aSeq) - BigInt(bSeq) : byMs;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

function toEvents(entries: readonly StreamEntry[]): StoredEvent[] {
  return entries.flatMap(([id, flat]) => {
    const fields: Record<string, string> = {};
    for (let i = 0; i + 1 < flat.length; i += 2) fields[flat[i] ?? ""] = flat[i + 1] ?? "";
    const parsed = Fields.safeParse(fields);
    if (!parsed.success) return []; // written by a newer version: this reader does not know the type
    const { type, vm, owner, seq, at, data } = parsed.data;
    const event: CloudEvent = {
      specversion: "1.0",
      id: `${vm}/${seq}`,
      source: type.startsWith("batch.") ? "/drover/batches" : "/drover/vms",
      type,
      subject: vm,
      time: new Date(at).toISOString(),
      datacontenttype: "application/json",
      sequence: seq,
      owner,
      data: z.record(z.string(), z.unknown()).parse(JSON.parse(data)),
    };
    return [{ id, event }];
  });
}
