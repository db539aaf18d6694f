import { z } from "zod";
import { VmSpec } from "../contract/vm-request.ts";
import type { RedisClient } from "./connection.ts";
import type { RedisKeys } from "./redis-keys.ts";

/** Items in one field of the manifest. */
const CHUNK_ITEMS = 100;
/** A longer item has a field of its own, so that nobody reads a hundred large ones for the sake of one. */
const CHUNKED_ITEM_MAX_CHARS = 4_096;
/** What was left out of a batch, beside its items. */
const PROBLEMS_FIELD = "problems";

export interface ManifestItem {
  /** Its line in what was sent, from 1. */
  readonly line: number;
  /** What it says itself, without the defaults. */
  readonly spec: VmSpec;
}

const Entry = z.tuple([z.int(), VmSpec.or(z.null())]);

/** As it is read, with the length of its text. */
export interface StoredItem extends ManifestItem {
  readonly chars: number;
}

/** Writes items as fields of the manifest, in chunks. Pure: whoever owns it sends the fields to Redis. */
export class ManifestWriter {
  #chunk: string[] = [];
  #total = 0;

  get total(): number {
    return this.#total;
  }

  /** The fields that this item completes, names and values. */
  add({ line, spec }: ManifestItem): readonly (readonly [field: string, value: string])[] {
    const text = JSON.stringify([line, spec]);
    const isLong = text.length > CHUNKED_ITEM_MAX_CHARS;
    const own = isLong ? [[longField(this.#total), text] as const] : [];
    this.#chunk.push(isLong ? JSON.stringify([line, null]) : text);
    this.#total += 1;
    return this.#chunk.length < CHUNK_ITEMS ? own : [...own, ...this.end()];
  }

  /** The last fields, of a chunk that is not full. */
  end(): readonly (readonly [field: string, value: string])[] {
    if (this.#chunk.length === 0) return [];
    const field = chunkField(this.#total - 1);
    const value = `[${this.#chunk.join(",")}]`;
    this.#chunk = [];
    return [[field, value]];
  }

  problems(problems: readonly unknown[]): readonly (readonly [field: string, value: string])[] {
    return problems.length === 0 ? [] : [[PROBLEMS_FIELD, JSON.stringify(problems)]];
  }
}

/** The items of a batch at these places (indexes in any order). Those that are not there are left out. */
export async function readManifest(
  { redis, keys }: { redis: RedisClient; keys: RedisKeys },
  batchId: string,
  indexes: readonly number[],
): Promise<ReadonlyMap<number, StoredItem>> {
  const key = keys.batchPart(batchId, "items");
  const fields = [...new Set(indexes.map(chunkField))];
  if (fields.length === 0) return new Map();
  const items = new Map<number, StoredItem>();
  const long: number[] = [];
  for (const [at, text] of (await redis.hmget(key, ...fields)).entries()) {
    if (text === null) continue;
    const chunk = z.array(z.unknown()).parse(JSON.parse(text));
    const first = Number(fields[at]) * CHUNK_ITEMS;
    for (const index of indexes) {
      if (index < first || index >= first + chunk.length) continue;
      const [line, spec] = Entry.parse(chunk[index - first]);
      if (spec === null) long.push(index);
      else items.set(index, { line, spec, chars: text.length / chunk.length });
    }
  }
  if (long.length === 0) return items;
  for (const [at, text] of (await redis.hmget(key, ...long.map(longField))).entries()) {
    const index = long[at];
    if (text === null || index === undefined) continue;
    const [line, spec] = Entry.parse(JSON.parse(text));
    if (spec !== null) items.set(index, { line, spec, chars: text.length });
  }
  return items;
}

/** What was left out of the batch, as it was committed. */
export async function readProblems(
  { redis, keys }: { redis: RedisClient; keys: RedisKeys },
  batchId: string,
): Promise<unknown> {
  const text = await redis.hget(keys.batchPart(batchId, "items"), PROBLEMS_FIELD);
  return text === null ? [] : JSON.parse(text);
}

function chunkField(index: number): string {
  return String(Math.floor(index / CHUNK_ITEMS));
}

function longField(index: number): string {
  return `i${index}`;
}
