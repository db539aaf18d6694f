import { z } from "zod";
import { CAUSE_CODES, type CauseCode } from "../contract/causes.ts";
import { DroverError } from "../contract/errors.ts";
import { ResultRecord } from "../contract/vm-record.ts";
import { vmIdOfItem } from "../runtime/batch-id.ts";
import { readManifest } from "./batch-manifest.ts";
import { type ItemState, itemState, lettersOf } from "./batch-states.ts";
import type { RedisClient } from "./connection.ts";
import type { RedisKeys } from "./redis-keys.ts";

export interface ItemFilter {
  readonly states?: readonly ItemState[] | undefined;
  readonly cause?: CauseCode | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
  /** Whether to read what guests handed back, too. */
  readonly results?: boolean;
}

export interface BatchItemRow {
  readonly index: number;
  readonly line: number;
  readonly vmId: string;
  readonly name: string | undefined;
  readonly state: ItemState;
  readonly cause: CauseCode | undefined;
  readonly host: string | undefined;
  readonly exitCode: number | undefined;
  readonly endedAtMs: number | undefined;
  /** With `results`: what the guest handed back, while the VM's record is kept. */
  readonly result: ResultRecord | undefined;
}

export interface BatchItemPage {
  readonly items: readonly BatchItemRow[];
  readonly next: string | null;
}

/** How an item ended: what stays of it when its VM's record is deleted. */
export interface ItemEnd {
  readonly endedAtMs: number;
  readonly host: string | undefined;
  readonly cause: CauseCode | undefined;
  readonly exitCode: number | undefined;
}

/** Letters read in one step. */
const STEP_LETTERS = 10_000;
/** Items whose ends are read for one page at most, so that a cause that is rare cannot hold Redis or the API up. */
const SCAN_MAX_ENDS = 5_000;
/** Results are up to 64 KB each. */
const RESULTS_MAX = 50;

const EndTuple = z.tuple([z.number(), z.string().nullable(), z.string().nullable(), z.int().nullable()]);
/** Of an item that has no launch, or is to be launched once more. */
const NOTHING_YET = {
  cause: undefined,
  host: undefined,
  exitCode: undefined,
  endedAtMs: undefined,
  result: undefined,
} as const;

interface FoundItem {
  readonly index: number;
  readonly state: ItemState;
  readonly end: ItemEnd | undefined;
}

interface Source {
  readonly redis: RedisClient;
  readonly keys: RedisKeys;
}

/** Items in order of their index, from the cursor on. Throws `invalid_request` when the cursor is none of ours. */
export async function listItems(source: Source, batchId: string, filter: ItemFilter): Promise<BatchItemPage> {
  const limit = filter.results === true ? Math.min(filter.limit, RESULTS_MAX) : filter.limit;
  const letters = lettersWanted(filter);
  const found: FoundItem[] = [];
  let next: number | undefined = filter.cursor === undefined ? 0 : readCursor(filter.cursor);
  for (let scanned = 0; next !== undefined && found.length < limit && scanned < SCAN_MAX_ENDS; ) {
    const step = await findLetters(source, batchId, { from: next, letters, count: limit - found.length });
    const indexes = step.found.map(({ index }) => index);
    const ends = await readEnds(source, batchId, indexes);
    for (const { index, letter } of step.found) {
      const end = ends.get(index);
      if (filter.cause === undefined || end?.cause === filter.cause)
        found.push({ index, state: itemState(letter), end });
    }
    scanned += Math.max(indexes.length, 1);
    next = step.next;
  }
  const items = await readRows(source, batchId, found, filter.results === true);
  return { items, next: next === undefined ? null : String(next) };
}

/**
 * The next items that have one of these letters (all letters when left out), at most `count` of them; `next` is where to
 * look on, undefined at the end of the batch.
 */
export async function findLetters(
  { redis, keys }: Source,
  batchId: string,
  { from, letters, count }: { readonly from: number; readonly letters?: string | undefined; readonly count: number },
): Promise<{
  readonly found: readonly { readonly index: number; readonly letter: string }[];
  readonly next: number | undefined;
}> {
  const key = keys.batchPart(batchId, "states");
  const found: { index: number; letter: string }[] = [];
  for (let at = from; ; ) {
    const text = await redis.getrange(key, at, at + STEP_LETTERS - 1);
    for (const [place, letter] of [...text].entries()) {
      if (letters !== undefined && !letters.includes(letter)) continue;
      found.push({ index: at + place, letter });
      if (found.length === count) {
        const next = at + place + 1;
        return { found, next: place + 1 === text.length && text.length < STEP_LETTERS ? undefined : next };
      }
    }
    if (text.length < STEP_LETTERS) return { found, next: undefined };
    at += text.length;
  }
}

/** How items ended, of those that have. */
export async function readEnds(
  { redis, keys }: Source,
  batchId: string,
  indexes: readonly number[],
): Promise<ReadonlyMap<number, ItemEnd>> {
  if (indexes.length === 0) return new Map();
  const texts = await redis.hmget(keys.batchPart(batchId, "ends"), ...indexes.map(String));
  const ends = new Map<number, ItemEnd>();
  for (const [at, text] of texts.entries()) {
    const index = indexes[at];
    if (text === null || index === undefined) continue;
    const [endedAtMs, host, cause, exitCode] = EndTuple.parse(JSON.parse(text));
    ends.set(index, {
      endedAtMs,
      host: host ?? undefined,
      cause: CAUSE_CODES.find((code) => code === cause),
      exitCode: exitCode ?? undefined,
    });
  }
  return ends;
}

async function readRows(
  source: Source,
  batchId: string,
  found: readonly FoundItem[],
  withResults: boolean,
): Promise<BatchItemRow[]> {
  const indexes = found.map(({ index }) => index);
  const manifest = await readManifest(source, batchId, indexes);
  const pipeline = source.redis.pipeline();
  for (const index of indexes) {
    const record = source.keys.record(vmIdOfItem(batchId, index));
    if (withResults) pipeline.hmget(record, "host", "result");
    else pipeline.hmget(record, "host");
  }
  const replies = (await pipeline.exec()) ?? [];
  return found.map(({ index, state, end }, at) => {
    const [error, fields] = replies[at] ?? [null, []];
    if (error !== null) throw error;
    const [host, result] = z.array(z.string().nullable()).parse(fields);
    const item = manifest.get(index);
    const own = {
      index,
      line: item?.line ?? index + 1,
      vmId: vmIdOfItem(batchId, index),
      name: item?.spec.name,
      state,
    };
    if (state === "listed" || state === "skipped") return { ...own, ...NOTHING_YET };
    return {
      ...own,
      cause: end?.cause,
      host: end?.host ?? host ?? undefined,
      exitCode: end?.exitCode,
      endedAtMs: end?.endedAtMs,
      result: result === undefined || result === null ? undefined : ResultRecord.parse(JSON.parse(result)),
    };
  });
}

function lettersWanted({ states, cause }: ItemFilter): string | undefined {
  if (cause !== undefined) return states === undefined || states.includes("failed") ? lettersOf(["failed"]) : "";
  return states === undefined ? undefined : lettersOf(states);
}

function readCursor(cursor: string): number {
  if (/^\d{1,9}$/.test(cursor)) return Number(cursor);
  const message = "cursor must be the `next` of an earlier page; leave it out to start from the first item";
  throw new DroverError("invalid_request", message, { problems: [{ field: "cursor", message }] });
}
