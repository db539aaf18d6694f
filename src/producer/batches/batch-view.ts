import type { BatchItem, BatchResult, BatchView } from "../../contract/batch.ts";
import type { BatchItemRow } from "../../queue/batch-items.ts";
import { batchPace } from "../../queue/batch-pace.ts";
import type { BatchRecord } from "../../queue/batch-record.ts";
import { toResult } from "../view.ts";

/** A batch as every interface shows it. `nowMs` is Unix time. */
export function toBatchView(batch: BatchRecord, nowMs: number): BatchView {
  const { perMinute, estimatedEndMs } = batchPace(batch, nowMs);
  return {
    id: batch.batchId,
    name: batch.name ?? null,
    owner: batch.owner,
    state: batch.state,
    outcome: batch.outcome ?? null,
    total: batch.total,
    ended: batch.ended,
    counts: { ...batch.counts },
    failures: batch.failures.map(({ cause, count }) => ({ cause, count })),
    maxParallel: batch.maxParallel ?? null,
    stopAfterFailures: batch.stopAfterFailures ?? null,
    rejected: batch.rejected,
    perMinute: perMinute === undefined ? null : Math.round(perMinute * 10) / 10,
    estimatedEnd: timeOrNull(estimatedEndMs),
    createdAt: new Date(batch.createdAtMs).toISOString(),
    startedAt: timeOrNull(batch.startedAtMs),
    endedAt: timeOrNull(batch.endedAtMs),
  };
}

export function toBatchItem({ name, cause, host, exitCode, endedAtMs, ...row }: BatchItemRow): BatchItem {
  return {
    index: row.index,
    line: row.line,
    vmId: row.vmId,
    name: name ?? null,
    state: row.state,
    cause: cause ?? null,
    host: host ?? null,
    exitCode: exitCode ?? null,
    endedAt: timeOrNull(endedAtMs),
  };
}

/** The same with what the guest handed back. */
export function toBatchResult(row: BatchItemRow): BatchResult {
  if (row.result === undefined) return { ...toBatchItem(row), result: null };
  const { data, text } = toResult(row.result);
  return { ...toBatchItem(row), result: { data, text } };
}

function timeOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
