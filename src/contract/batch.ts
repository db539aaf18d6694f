import { z } from "zod";
import { BATCH_OUTCOMES, BATCH_STATES } from "./batch-state.ts";
import { CAUSE_CODES } from "./causes.ts";
import { flag } from "./http-query.ts";
import { BATCH_ITEMS_MAX, LIST_PAGE_DEFAULT, LIST_PAGE_MAX, NAME_MAX_CHARS } from "./limits.ts";
import { Owner } from "./owner.ts";
import { plainText, VmRequest } from "./vm-request.ts";
import { VM_STATES } from "./vm-state.ts";

const time = z.iso.datetime();

/** What holds for a whole batch. In NDJSON it may stand in the first line as `{"batch": {...}}`. */
export const BatchHead = z.strictObject({
  name: plainText(NAME_MAX_CHARS).optional().describe("A name for people. Need not be unique."),
  defaults: VmRequest.optional().describe(
    "What every request has that does not say otherwise, shared secrets included; labels are merged by name.",
  ),
  maxParallel: z
    .int()
    .min(1)
    .max(BATCH_ITEMS_MAX)
    .optional()
    .describe("How many VMs of the batch may wait for a host or live at once, in the whole fleet."),
  stopAfterFailures: z
    .int()
    .min(1)
    .max(BATCH_ITEMS_MAX)
    .optional()
    .describe("With so many failed VMs nothing further is launched; what runs ends by itself."),
});
export type BatchHead = z.infer<typeof BatchHead>;

/** The JSON form of a batch. Its items are read one by one, so that all bad ones are named at once. */
export const BatchRequest = BatchHead.extend({ items: z.array(z.unknown()).min(1).max(BATCH_ITEMS_MAX) });

const count = z.int().nonnegative();
const counts = Object.fromEntries(VM_STATES.map((state) => [state, count])) as Record<
  (typeof VM_STATES)[number],
  typeof count
>;

/** A batch as every interface shows it. */
export const BatchView = z.strictObject({
  id: z.string(),
  name: z.string().nullable(),
  owner: z.string(),
  state: z.enum(BATCH_STATES),
  outcome: z
    .enum(BATCH_OUTCOMES)
    .nullable()
    .describe("How it ended: every VM completed; some failed, expired or were removed; stopped; cancelled."),
  total: count,
  ended: count.describe("Items that have ended, skipped ones included."),
  counts: z
    .strictObject({
      listed: count.describe("In the list, without a place in the queue yet."),
      skipped: count.describe("Never launched, because the batch was stopped or cancelled."),
      ...counts,
    })
    .describe("Items by state; their sum is `total`."),
  failures: z.array(z.strictObject({ cause: z.enum(CAUSE_CODES), count })).describe("Failed VMs by cause, most first."),
  maxParallel: z.int().nullable(),
  stopAfterFailures: z.int().nullable(),
  rejected: count.describe("Lines that were left out with `partial=true`."),
  perMinute: z.number().nullable().describe("Items that ended in a minute, of late; null while that is not known."),
  estimatedEnd: time.nullable().describe("When it will have ended at this rate; null while that is not known."),
  createdAt: time,
  startedAt: time.nullable().describe("When the first of its VMs was taken by a host."),
  endedAt: time.nullable(),
});
export type BatchView = z.infer<typeof BatchView>;

export const LineProblem = z.strictObject({
  line: z.int().describe("Line of the NDJSON body from 1; in a JSON list, the place of the item from 1."),
  field: z.string(),
  message: z.string(),
});
export type LineProblem = z.infer<typeof LineProblem>;

export const BatchAccepted = BatchView.extend({
  replayed: z.boolean().describe("True when the idempotency key had been used before with this very batch."),
  problems: z.array(LineProblem).describe("What was left out with `partial=true`, the first of them."),
});
export type BatchAccepted = z.infer<typeof BatchAccepted>;

export const BatchList = z.strictObject({ items: z.array(BatchView), next: z.string().nullable() });
export type BatchList = z.infer<typeof BatchList>;

/** One item of a batch. */
export const BatchItem = z.strictObject({
  index: z.int().describe("Its place among what was accepted, from 0."),
  line: z.int().describe("Its line in what was sent, from 1."),
  vmId: z.uuid(),
  name: z.string().nullable(),
  state: z.enum(["listed", "skipped", ...VM_STATES]),
  cause: z.enum(CAUSE_CODES).nullable(),
  host: z.string().nullable().describe("The host of the last launch."),
  exitCode: z.int().nullable(),
  endedAt: time.nullable(),
});
export type BatchItem = z.infer<typeof BatchItem>;

export const BatchItems = z.strictObject({ items: z.array(BatchItem), next: z.string().nullable() });
export type BatchItems = z.infer<typeof BatchItems>;

/** A line of the results: an item that has ended, with what its guest handed back while its record is kept. */
export const BatchResult = BatchItem.extend({
  result: z
    .strictObject({ data: z.string().nullable(), text: z.string().nullable() })
    .nullable()
    .describe("Null without a result, or once the VM's record is deleted."),
});
export type BatchResult = z.infer<typeof BatchResult>;

export const BatchSubmitQuery = z.strictObject({
  partial: flag.optional().describe("Take the requests that are valid, and answer what is wrong with the others."),
});

export const BatchRetryQuery = z.strictObject({
  cause: z.enum(CAUSE_CODES).optional().describe("Only VMs that failed with this cause."),
});

export const BatchListQuery = z.strictObject({
  state: z.enum(BATCH_STATES).optional(),
  owner: Owner.optional().describe("Whose batches; without it an operator sees those of all owners."),
  limit: z.coerce.number().int().min(1).max(LIST_PAGE_MAX).default(LIST_PAGE_DEFAULT),
  cursor: z.string().max(200).optional().describe("`next` of the page before."),
});

export const BatchItemsQuery = z.strictObject({
  state: z
    .union([BatchItem.shape.state, z.array(BatchItem.shape.state)])
    .optional()
    .describe("One state, or several (repeat the parameter)."),
  cause: z.enum(CAUSE_CODES).optional(),
  limit: z.coerce.number().int().min(1).max(LIST_PAGE_MAX).default(LIST_PAGE_DEFAULT),
  cursor: z.string().max(200).optional().describe("`next` of the page before."),
});

export const BatchRetried = z.strictObject({
  retried: count.describe("Failed VMs that are in the queue again."),
  refused: z
    .array(z.strictObject({ vmId: z.uuid(), code: z.string(), message: z.string() }))
    .describe("Failed VMs that cannot be retried, the first of them."),
  batch: BatchView,
});
export type BatchRetried = z.infer<typeof BatchRetried>;
