import { z } from "zod";
import type { LineProblem } from "../contract/batch.ts";
import { BATCH_OUTCOMES, BATCH_STATES } from "../contract/batch-state.ts";
import { CAUSE_CODES, type CauseCode } from "../contract/causes.ts";
import { VmSpec } from "../contract/vm-request.ts";
import { VM_STATES } from "../contract/vm-state.ts";
import { ENDED_STATES, type ItemState } from "./batch-states.ts";

/** How many items had ended at a time. */
export interface PaceSample {
  readonly atMs: number;
  readonly ended: number;
}

const whole = z.coerce.number().int().nonnegative();

const Fields = z.object({
  batchId: z.string(),
  owner: z.string(),
  name: z.string().optional(),
  digest: z.string(),
  state: z.enum(BATCH_STATES),
  outcome: z.enum(BATCH_OUTCOMES).optional(),
  total: whole,
  maxParallel: whole.optional(),
  stopAfterFailures: whole.optional(),
  defaults: z.string().transform((text) => VmSpec.parse(JSON.parse(text))),
  pool: z.string(),
  attempts: whole,
  rejected: whole.default(0),
  /** The shared secrets, sealed; none, or gone with the last listed item. */
  shared: z.string().optional(),
  /** Where the first listed item may be. */
  next: whole,
  eventsMax: whole,
  /** Where the span of the request that brought it stands: the traces of its VMs are linked to it. */
  trace: z.string().optional(),
  /** Who cancelled it, until its VMs are removed or marked for it. */
  removing: z.string().optional(),
  /** When its live items were last compared with their records. */
  recountedAtMs: whole.optional(),
  createdAtMs: whole,
  startedAtMs: whole.optional(),
  endedAtMs: whole.optional(),
});

/** A batch as Redis holds it, without its items. */
export interface BatchRecord extends Readonly<z.output<typeof Fields>> {
  /** Items by state; their sum is `total`. */
  readonly counts: Readonly<Record<ItemState, number>>;
  /** Items that have ended, skipped ones included. */
  readonly ended: number;
  /** Items whose VM waits for a host or has one. */
  readonly live: number;
  /** Failed items by cause, most first. */
  readonly failures: readonly { readonly cause: CauseCode; readonly count: number }[];
  /** Lines that were left out, the first of them. Empty in lists. */
  readonly problems: readonly LineProblem[];
  /** For `batchPace` (batch-pace.ts), which gives perMinute and the estimated end. Empty in lists. */
  readonly pace: readonly PaceSample[];
}

const ITEM_STATES: readonly ItemState[] = ["listed", "skipped", ...VM_STATES];

/**
 * Reads a batch's hash; undefined when there is none. Throws a zod error when Redis holds something else there. Unknown
 * fields are left alone, so that an older reader can read a newer batch.
 */
export function readBatch(
  hash: Readonly<Record<string, string>>,
  {
    problems = [],
    pace = [],
  }: { readonly problems?: readonly LineProblem[]; readonly pace?: readonly PaceSample[] } = {},
): BatchRecord | undefined {
  if (hash["total"] === undefined) return undefined;
  const fields = Fields.parse(hash);
  const counts = Object.fromEntries(ITEM_STATES.map((state) => [state, Number(hash[`s:${state}`] ?? 0)])) as Record<
    ItemState,
    number
  >;
  const ended = ENDED_STATES.reduce((sum, state) => sum + counts[state], 0);
  const failures = CAUSE_CODES.map((cause) => ({ cause, count: Number(hash[`c:${cause}`] ?? 0) }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count);
  return { ...fields, counts, ended, live: fields.total - counts.listed - ended, failures, problems, pace };
}

/** `<time>:<ended items>`, as the scripts write it. */
export function readPace(samples: readonly string[]): PaceSample[] {
  return samples.map((sample) => {
    const [atMs = "", ended = ""] = sample.split(":");
    return { atMs: Number(atMs), ended: Number(ended) };
  });
}
