import { z } from "zod";
import { CAUSE_CODES } from "./causes.ts";
import { ForensicsView } from "./forensics.ts";
import { BATCH_ID_CHARS, LIST_PAGE_DEFAULT, LIST_PAGE_MAX } from "./limits.ts";
import { Owner } from "./owner.ts";
import { PRIORITY_CLASSES, VmSpec } from "./vm-request.ts";
import { VM_STATES } from "./vm-state.ts";
import { SubmitWarning, WaitingView } from "./waiting.ts";

const time = z.iso.datetime();

const HOST_REACH = ["live", "unreachable"] as const;
export type HostReach = (typeof HOST_REACH)[number];

export const CauseView = z.strictObject({
  code: z.enum(CAUSE_CODES),
  message: z.string(),
  fault: z.enum(["vm", "host"]),
  action: z.string().describe("What an operator can do."),
});

export const LaunchView = z.strictObject({
  epoch: z.int(),
  host: z.string(),
  port: z.int().nullable(),
  startedAt: time,
  endedAt: time.nullable(),
  cause: z.strictObject({ code: z.enum(CAUSE_CODES), message: z.string() }).nullable(),
});

/** A VM as every interface shows it. Made by one function from record, job and lease. */
export const VmView = z.strictObject({
  id: z.uuid(),
  state: z
    .enum(VM_STATES)
    .describe("A VM whose removal was asked for and whose host is unreachable is `stopping` until its end is proved."),
  owner: z.string(),
  pool: z.string().describe("The pool that was asked for; what the VM needs besides stands in `spec`."),
  batch: z.string().nullable().default(null).describe("The batch that it came with."),
  priority: z.enum(PRIORITY_CLASSES),
  spec: VmSpec.describe("The request without its secrets."),
  hasSecrets: z.boolean(),
  epoch: z.int(),
  attempts: z.strictObject({ made: z.int(), max: z.int() }),
  host: z.string().nullable(),
  hostStatus: z
    .enum(HOST_REACH)
    .nullable()
    .describe(
      "Whether the host that has the VM shows signs of life; `unreachable` says nothing of the VM itself. Null when no host has it, or when this cannot be told right now.",
    ),
  address: z
    .strictObject({ host: z.string(), port: z.int() })
    .nullable()
    .describe("What a client connects to while the VM lives."),
  tee: z.string().nullable(),
  accel: z.string().nullable(),
  gpu: z.string().nullable().describe("PCI address of the GPU that the last launch got."),
  hostData: z
    .string()
    .nullable()
    .describe("HOST_DATA of the last launch's attestation reports in hex: the SHA-256 digest of `spec` (SEV-SNP)."),
  waiting: WaitingView.nullable()
    .optional()
    .describe(
      "Why it waits. Null: it does not wait. Left out where nobody looked: in answers to a submit, and when the hosts could not be asked.",
    ),
  createdAt: time,
  stateSince: time,
  runningAt: time.nullable(),
  readyAt: time.nullable(),
  endedAt: time.nullable(),
  retryAt: time.nullable(),
  expiresAt: time.nullable(),
  removal: z.strictObject({ reason: z.string(), by: z.string(), at: time }).nullable(),
  endReason: z.string().nullable(),
  unverified: z
    .boolean()
    .describe("True when an operator forgot the VM's host, so that nobody has proved that the VM is gone."),
  cause: CauseView.nullable(),
  result: z
    .strictObject({
      exitCode: z.int().nullable(),
      data: z.string().nullable().describe("Base64 of the bytes that the guest handed back."),
      text: z.string().nullable().describe("The same as text, where it is valid UTF-8."),
    })
    .nullable(),
  command: z.string().nullable().describe("The QEMU command of the last launch as one shell line, secrets masked."),
  launches: z.array(LaunchView),
  dismissed: z
    .strictObject({ by: z.string(), at: time })
    .nullable()
    .default(null)
    .describe("Who said that its failure needs no more attention; such VMs are not among the failures."),
});
export type VmView = z.infer<typeof VmView>;

/** One VM with the end of its console and of QEMU's own output. */
export const VmDetail = VmView.extend({
  tail: z.strictObject({ console: z.string(), qemu: z.string() }).nullable(),
  forensics: z
    .array(ForensicsView)
    .nullable()
    .default(null)
    .describe("What is kept of its failed launches, oldest first; null when nothing is."),
});
export type VmDetail = z.infer<typeof VmDetail>;

export const VmAccepted = VmView.extend({
  warnings: z.array(SubmitWarning).default([]).describe("What stands in the VM's way though it was accepted."),
  replayed: z.boolean().describe("True when the idempotency key had been used before with this very request."),
});
export type VmAccepted = z.infer<typeof VmAccepted>;

export const ListQuery = z.strictObject({
  state: z
    .union([z.enum(VM_STATES), z.array(z.enum(VM_STATES))])
    .optional()
    .describe("One state, or several (repeat the parameter)."),
  pool: z.string().optional().describe("The pool that was asked for, whatever the VM needs besides."),
  host: z.string().optional(),
  owner: Owner.optional().describe("Whose VMs; without it an operator sees those of all owners."),
  cause: z.enum(CAUSE_CODES).optional(),
  label: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe("`name` or `name=value`; all given must fit."),
  batch: z.string().max(BATCH_ID_CHARS).optional().describe("Only VMs of this batch that have left its list."),
  limit: z.coerce.number().int().min(1).max(LIST_PAGE_MAX).default(LIST_PAGE_DEFAULT),
  cursor: z.string().max(200).optional().describe("`next` of the page before."),
});
export type ListQuery = z.infer<typeof ListQuery>;

export const VmList = z.strictObject({ items: z.array(VmView), next: z.string().nullable() });
export type VmList = z.infer<typeof VmList>;

/** RFC 9457 problem document. */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.string(),
  detail: z.string(),
  instance: z.string().optional(),
  requestId: z.string().optional(),
  problems: z
    .array(
      z.strictObject({
        field: z.string(),
        message: z.string(),
        line: z.int().optional().describe("Of a batch: the line of NDJSON, or the place in the JSON list, from 1."),
      }),
    )
    .optional(),
});
export type Problem = z.infer<typeof Problem>;
