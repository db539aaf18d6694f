import type { BatchRecord } from "./batch-record.ts";

export interface BatchPace {
  /** Items that ended in a minute, of late; undefined while that is not known. */
  readonly perMinute: number | undefined;
  readonly estimatedEndMs: number | undefined;
}

/** VMs that are launched together end together: a rate is told from several such waves, or from all there were. */
const WAVES = 4;
/** Nothing has ended for so many times the longest pause before: then the time that has passed counts too. */
const STALLED = 2;
const MINUTE_MS = 60_000;

/** How fast a batch goes and when it will have ended at this rate. `nowMs` is Unix time. */
export function batchPace(
  { state, total, ended, live, pace }: Pick<BatchRecord, "state" | "total" | "ended" | "live" | "pace">,
  nowMs: number,
): BatchPace {
  const unknown = { perMinute: undefined, estimatedEndMs: undefined };
  const last = pace.at(-1);
  const [first] = pace;
  if (state === "ended" || first === undefined || last === undefined || last.ended <= first.ended) return unknown;
  const wanted = Math.max((last.ended - first.ended) / 2, WAVES * live);
  const from = pace.findLast((sample) => last.ended - sample.ended >= wanted) ?? first;
  const pauses = pace.slice(1).map((sample, at) => sample.atMs - (pace[at]?.atMs ?? 0));
  const isStalled = nowMs - last.atMs > STALLED * Math.max(...pauses);
  const untilMs = isStalled ? nowMs : last.atMs;
  const perMs = (last.ended - from.ended) / Math.max(untilMs - from.atMs, 1);
  const left = total - Math.max(ended, last.ended);
  return { perMinute: perMs * MINUTE_MS, estimatedEndMs: Math.round(Math.max(untilMs + left / perMs, nowMs)) };
}
