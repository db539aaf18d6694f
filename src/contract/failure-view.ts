import { z } from "zod";
import { CAUSE_CODES } from "./causes.ts";
import { Owner } from "./owner.ts";

const time = z.iso.datetime();
const count = z.int().nonnegative();

/** Failures with one cause on one host. */
export const FailureGroup = z.strictObject({
  id: z.string().describe("`<cause>@<host>`, for retry and dismiss."),
  cause: z.enum(CAUSE_CODES),
  host: z.string().describe("The host of the launch that failed."),
  fault: z.enum(["vm", "host"]),
  means: z.string(),
  action: z.string().describe("What an operator can do."),
  failed: count.describe("VMs that have failed so and that nobody has retried, dismissed or removed."),
  retryable: count.describe("Those of them that can be retried: their secrets are kept still, or they have none."),
  launchedAgain: count.describe("VMs of which a launch failed so and that drover has launched again by itself."),
  firstAt: time.describe("Of the oldest failure that counts."),
  lastAt: time.describe("Of the newest."),
  example: z
    .strictObject({ vmId: z.uuid(), message: z.string().nullable() })
    .nullable()
    .describe("The newest VM, and what was said of its failure."),
});
export type FailureGroup = z.infer<typeof FailureGroup>;

export const FailureList = z.strictObject({ items: z.array(FailureGroup) });
export type FailureList = z.infer<typeof FailureList>;

export const FailureQuery = z.strictObject({
  owner: Owner.optional().describe("Whose VMs; without it an operator sees those of all owners."),
  cause: z.enum(CAUSE_CODES).optional(),
  host: z.string().optional(),
  since: z.iso
    .datetime({ offset: true })
    .optional()
    .describe("Only failures from this time on; `firstAt` and the counts are then of these."),
});
export type FailureQuery = z.infer<typeof FailureQuery>;

export const FailureStepQuery = z.strictObject({
  owner: Owner.optional().describe("Whose VMs; without it an operator means those of all owners."),
  cursor: z.string().max(200).optional().describe("`next` of the step before."),
});
export type FailureStepQuery = z.infer<typeof FailureStepQuery>;

const next = z
  .string()
  .nullable()
  .describe("The group is gone through in steps: call again with this as `cursor`. Null: all is done.");

export const FailuresRetried = z.strictObject({
  retried: count.describe("VMs that are in the queue again."),
  refused: z
    .array(z.strictObject({ vmId: z.uuid(), code: z.string(), message: z.string() }))
    .describe("VMs that cannot be retried, each with the reason."),
  next,
});
export type FailuresRetried = z.infer<typeof FailuresRetried>;

export const FailuresDismissed = z.strictObject({ dismissed: count.describe("VMs that count no longer."), next });
export type FailuresDismissed = z.infer<typeof FailuresDismissed>;
