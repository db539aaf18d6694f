import { z } from "zod";
import type { BatchState } from "../contract/batch-state.ts";
import { DroverError } from "../contract/errors.ts";
import { type BatchRecord, readBatch } from "./batch-record.ts";
import type { RedisClient } from "./connection.ts";
import type { RedisKeys } from "./redis-keys.ts";

/** Batches looked at for one page at most. */
const SCAN_MAX_BATCHES = 2_000;
const STEP_BATCHES = 100;

export interface BatchFilter {
  /** Undefined: of all owners. */
  readonly owner?: string | undefined;
  readonly state?: BatchState | undefined;
  readonly limit: number;
  /** `next` of the page before. */
  readonly cursor?: string | undefined;
}

export interface BatchPage {
  /** Newest first. A page may be short, or empty, and still have a next one. */
  readonly batches: readonly BatchRecord[];
  readonly next: string | null;
}

interface Source {
  readonly redis: RedisClient;
  readonly keys: RedisKeys;
}

const Position = z.tuple([z.number(), z.string()]);
type Position = z.infer<typeof Position>;

/** Newest first. Throws `invalid_request` when the cursor is none of ours. */
export async function listBatches(source: Source, { owner, state, limit, cursor }: BatchFilter): Promise<BatchPage> {
  const index = owner === undefined ? source.keys.batches : source.keys.ownedBatches(owner);
  const batches: BatchRecord[] = [];
  let position = cursor === undefined ? undefined : readCursor(cursor);
  for (let scanned = 0; scanned < SCAN_MAX_BATCHES; ) {
    const below = await newestBelow(source.redis, index, position);
    if (below.length === 0) return { batches, next: null };
    scanned += below.length;
    const hashes = await readHashes(source, below);
    for (const [at, entry] of below.entries()) {
      position = entry;
      const batch = readBatch(hashes[at] ?? {});
      if (batch === undefined || (state !== undefined && batch.state !== state)) continue;
      batches.push(batch);
      if (batches.length === limit) return { batches, next: writeCursor(entry) };
    }
  }
  return { batches, next: position === undefined ? null : writeCursor(position) };
}

async function newestBelow(redis: RedisClient, index: string, below: Position | undefined): Promise<Position[]> {
  // Many batches of one millisecond may fill the window with entries of the page before.
  for (let window = STEP_BATCHES; ; window *= 4) {
    const flat = await redis.zrevrangebyscore(index, below?.[0] ?? "+inf", "-inf", "WITHSCORES", "LIMIT", 0, window);
    const entries: Position[] = [];
    for (let at = 0; at < flat.length; at += 2) entries.push([Number(flat[at + 1]), flat[at] ?? ""]);
    const fresh = entries.filter((entry) => below === undefined || isBelow(entry, below));
    if (fresh.length > 0 || entries.length < window) return fresh;
  }
}

async function readHashes({ redis, keys }: Source, entries: readonly Position[]): Promise<Record<string, string>[]> {
  const pipeline = redis.pipeline();
  for (const [, batchId] of entries) pipeline.hgetall(keys.batch(batchId));
  return ((await pipeline.exec()) ?? []).map(([error, hash]) => {
    if (error !== null) throw error;
    return z.record(z.string(), z.string()).parse(hash);
  });
}

function isBelow(a: Position, b: Position): boolean {
  return a[0] !== b[0] ? a[0] < b[0] : a[1] < b[1];
}

function writeCursor(position: Position): string {
  return Buffer.from(JSON.stringify(position)).toString("base64url");
}

function readCursor(cursor: string): Position {
  try {
    return Position.parse(JSON.parse(Buffer.from(cursor, "base64url").toString("utf8")));
  } catch (cause) {
    const message = "cursor must be the `next` of an earlier page; leave it out to start from the newest batch";
    throw new DroverError("invalid_request", message, { cause, problems: [{ field: "cursor", message }] });
  }
}
