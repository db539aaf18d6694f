import { z } from "zod";
import { DroverError } from "../contract/errors.ts";
import { askedPool } from "../contract/placement.ts";
import { VmRecord } from "../contract/vm-record.ts";
import type { VmState } from "../contract/vm-state.ts";
import { itemOfVmId } from "../runtime/batch-id.ts";
import type { RedisClient } from "./connection.ts";
import type { RedisKeys } from "./redis-keys.ts";

export interface ListFilter {
  readonly owner?: string | undefined;
  readonly states?: readonly VmState[] | undefined;
  readonly pool?: string | undefined;
  readonly host?: string | undefined;
  readonly cause?: string | undefined;
  /** `name` or `name=value`; all must fit. */
  readonly labels?: readonly string[] | undefined;
  /** Only VMs of this batch. */
  readonly batch?: string | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
}

export interface RecordPage {
  readonly records: readonly VmRecord[];
  /** Cursor of the next page, null at the end. A page may be short, or empty, and still have a next one. */
  readonly next: string | null;
}

/** Records read for one page at most, so that a filter that fits nothing cannot hold Redis or the API up. */
const SCAN_MAX_RECORDS = 5_000;
const CHUNK_RECORDS = 200;

const Position = z.tuple([z.number(), z.string()]);
type Position = z.infer<typeof Position>;

/** Newest first. Throws `invalid_request` when the cursor is none of ours. */
export async function listRecords(redis: RedisClient, keys: RedisKeys, filter: ListFilter): Promise<RecordPage> {
  const indexes = filter.states?.map((state) => keys.stateVms(state)) ?? [
    filter.owner === undefined ? keys.allVms : keys.ownedVms(filter.owner),
  ];
  let position = filter.cursor === undefined ? undefined : readCursor(filter.cursor);
  const records: VmRecord[] = [];
  for (let scanned = 0; scanned < SCAN_MAX_RECORDS; ) {
    const chunk = await newestBelow(redis, indexes, position);
    if (chunk.length === 0) return { records, next: null };
    scanned += chunk.length;
    const isWanted = ([, vmId]: Position) => filter.batch === undefined || itemOfVmId(vmId)?.batchId === filter.batch;
    const read = await readRecords(redis, keys, chunk.filter(isWanted));
    for (const entry of chunk) {
      position = entry;
      const record = read.get(entry[1]);
      if (record === undefined || !fits(record, filter)) continue;
      records.push(record);
      if (records.length === filter.limit) return { records, next: writeCursor(entry) };
    }
  }
  return { records, next: position === undefined ? null : writeCursor(position) };
}

/** The next entries below a position over several indexes, in one order: time, then id, both falling. */
async function newestBelow(
  redis: RedisClient,
  indexes: readonly string[],
  below: Position | undefined,
): Promise<Position[]> {
  const from = below === undefined ? "+inf" : below[0];
  const perIndex = await Promise.all(
    indexes.map(async (index) => {
      let window = CHUNK_RECORDS;
      for (;;) {
        const flat = await redis.zrevrangebyscore(index, from, "-inf", "WITHSCORES", "LIMIT", 0, window);
        const entries: Position[] = [];
        for (let i = 0; i < flat.length; i += 2) entries.push([Number(flat[i + 1]), flat[i] ?? ""]);
        const fresh = below === undefined ? entries : entries.filter((entry) => compare(entry, below) > 0);
        // Many VMs of one millisecond may fill the window with entries of the page before.
        if (fresh.length > 0 || entries.length < window) return fresh;
        window *= 4;
      }
    }),
  );
  return perIndex.flat().sort(compare).slice(0, CHUNK_RECORDS);
}

function compare(a: Position, b: Position): number {
  if (a[0] !== b[0]) return b[0] - a[0];
  return a[1] === b[1] ? 0 : a[1] < b[1] ? 1 : -1;
}

async function readRecords(
  redis: RedisClient,
  keys: RedisKeys,
  chunk: readonly Position[],
): Promise<ReadonlyMap<string, VmRecord>> {
  if (chunk.length === 0) return new Map();
  const pipeline = redis.pipeline();
  for (const [, vmId] of chunk) pipeline.hgetall(keys.record(vmId));
  const replies = (await pipeline.exec()) ?? [];
  const records = new Map<string, VmRecord>();
  for (const [index, [error, fields]] of replies.entries()) {
    if (error !== null) throw error;
    const parsed = VmRecord.safeParse(fields);
    // One that was purged meanwhile, or is of a version that we cannot read, is left out.
    if (parsed.success) records.set(chunk[index]?.[1] ?? "", parsed.data);
  }
  return records;
}

function fits(record: VmRecord, filter: ListFilter): boolean {
  const labels = record.spec.labels ?? {};
  return (
    (filter.owner === undefined || record.owner === filter.owner) &&
    (filter.states === undefined || filter.states.includes(record.state)) &&
    (filter.pool === undefined || askedPool(record.pool) === filter.pool) &&
    (filter.host === undefined || record.host === filter.host) &&
    (filter.cause === undefined || record.cause?.code === filter.cause) &&
    (filter.labels ?? []).every((label) => {
      const [name = "", value] = label.split(/=(.*)/s);
      return value === undefined ? Object.hasOwn(labels, name) : labels[name] === value;
    })
  );
}

function writeCursor(position: Position): string {
  return Buffer.from(JSON.stringify(position)).toString("base64url");
}

function readCursor(cursor: string): Position {
  try {
    return Position.parse(JSON.parse(Buffer.from(cursor, "base64url").toString("utf8")));
  } catch (cause) {
    const message = "cursor must be the `next` of an earlier page; leave it out to start from the newest VM";
    throw new DroverError("invalid_request", message, { cause, problems: [{ field: "cursor", message }] });
  }
}
