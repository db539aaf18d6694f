import { z } from "zod";
import { AttestationRecord } from "./attestation-record.ts";
import { CAUSE_CODES } from "./causes.ts";
import { PRIORITY_CLASSES, VmSpec } from "./vm-request.ts";
import { VM_STATES } from "./vm-state.ts";

export const RECORD_VERSION = 1;

const ms = z.coerce.number().int().nonnegative();
const json = <T extends z.ZodType>(schema: T) =>
  z
    .string()
    .transform((text, context): unknown => {
      try {
        return JSON.parse(text);
      } catch {
        context.addIssue({ code: "custom", message: "is not JSON" });
        return z.NEVER;
      }
    })
    .pipe(schema);

const CauseRecord = z.strictObject({ code: z.enum(CAUSE_CODES), message: z.string() });

export const LaunchRecord = z.strictObject({
  epoch: z.int(),
  host: z.string(),
  port: z.int().nullable(),
  startedAtMs: z.int(),
  endedAtMs: z.int().nullable(),
  cause: CauseRecord.nullable(),
});
export type LaunchRecord = z.infer<typeof LaunchRecord>;

export const ResultRecord = z.strictObject({
  exitCode: z.int().nullable(),
  /** Base64 of what the guest handed back over `drover.result`; null when it sent no complete message. */
  data: z.string().nullable(),
});
export type ResultRecord = z.infer<typeof ResultRecord>;

/**
 * The VM record: a hash in Redis from ACCEPT on. Text fields as Redis holds them are read here and nowhere else.
 * Unknown fields are kept by the scripts and ignored by this reader, so that an older API can read a newer record.
 */
export const VmRecord = z.object({
  v: z.coerce.number().int().min(1),
  vmId: z.uuid(),
  owner: z.string(),
  /** The batch that it came with; its place there follows from its id. */
  batch: z.string().optional(),
  pool: z.string(),
  priority: z.enum(PRIORITY_CLASSES),
  /** The number that BullMQ sorts by. */
  jobPriority: z.coerce.number().int(),
  spec: json(VmSpec),
  digest: z.string(),
  attempts: z.coerce.number().int(),
  attemptsMade: z.coerce.number().int().default(0),
  hasSecrets: z.enum(["0", "1"]).transform((flag) => flag === "1"),
  state: z.enum(VM_STATES),
  epoch: z.coerce.number().int(),
  seq: z.coerce.number().int(),
  createdAtMs: ms,
  stateAtMs: ms,
  host: z.string().optional(),
  token: z.string().optional(),
  port: z.coerce.number().int().optional(),
  address: z.string().optional(),
  /** Kept across launches: the TTL counts from the first `running`. */
  firstRunningAtMs: ms.optional(),
  deadlineAtMs: ms.optional(),
  queueDeadlineAtMs: ms.optional(),
  runningAtMs: ms.optional(),
  readyAtMs: ms.optional(),
  endedAtMs: ms.optional(),
  retryAtMs: ms.optional(),
  tee: z.string().optional(),
  accel: z.string().optional(),
  /** PCI address of the GPU that the last launch got. */
  gpu: z.string().optional(),
  /** Memory of the last launch's guest. */
  memoryBytes: z.coerce.number().int().optional(),
  command: z.string().optional(),
  /** Of a shape that this version does not know: as if there were none. */
  attestation: json(AttestationRecord).optional().catch(undefined),
  endReason: z.string().optional(),
  cause: json(CauseRecord).optional(),
  result: json(ResultRecord).optional(),
  launches: json(z.array(LaunchRecord)).optional(),
  /** Hosts whose own fault ended a launch, each with the Unix ms until which this VM avoids it. */
  avoid: json(z.record(z.string(), z.int())).optional(),
  /** When workers died in a launch of this VM before it was running (Unix ms): several in a short time are poison. */
  crashes: json(z.array(z.int())).optional(),
  removal: json(
    z.strictObject({
      reason: z.enum(["requested", "ttl", "queue_timeout"]),
      by: z.string(),
      atMs: z.int(),
      force: z.boolean().optional(),
    }),
  ).optional(),
  /** An operator forgot the host that had the VM, so that nobody has proved its end. */
  unverified: z
    .literal("1")
    .transform(() => true)
    .optional(),
  idempotencyKey: z.string().optional(),
  /** Where the span of its acceptance stands (`traceparent` of W3C): every launch of it is in that trace. */
  trace: z.string().optional(),
  /** Somebody has seen that it failed, so that it counts among the failures no longer. */
  dismissed: json(z.object({ by: z.string(), atMs: z.int() })).optional(),
});
export type VmRecord = z.infer<typeof VmRecord>;
