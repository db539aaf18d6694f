import { z } from "zod";
import { CAUSE_CODES } from "./causes.ts";
import { HOST_VMS_SHOWN } from "./limits.ts";

const time = z.iso.datetime();

/**
 * How a host stands.
 *
 * - `live`: its lease is there.
 * - `away`: its worker was stopped on purpose and said until when; its VMs run on.
 * - `silent`: no lease, and not long enough yet to be lost.
 * - `lost`: silent for longer than its policy allows. What becomes of its VMs is the policy's matter.
 */
export const HOST_STATUSES = ["live", "away", "silent", "lost"] as const;
export type HostStatus = (typeof HOST_STATUSES)[number];

const HostPolicyView = z.strictObject({
  lost: z.enum(["rerun", "hold"]).describe("What becomes of the VMs: launched elsewhere, or held for an operator."),
  lostAfterMs: z.int().describe("How long the host must be silent before it is lost."),
  onPartition: z
    .enum(["keep", "stop"])
    .describe("What its worker does with the VMs when it cannot reach Redis for as long."),
});

const HostBreakerView = z.strictObject({
  openUntil: time.describe("Until then the host takes no VM."),
  failures: z.int().describe("Launches in a row that failed by the host's own fault."),
  cause: z.strictObject({ code: z.enum(CAUSE_CODES), message: z.string() }).nullable(),
});

/** A host as every interface shows it. What a worker of another version has written may not be readable: null. */
export const HostView = z.strictObject({
  id: z.string(),
  status: z.enum(HOST_STATUSES),
  vms: z.int().describe("How many VMs it has."),
  slots: z.int().nullable().describe("MANAGER_MAX_VMS: how many it takes at most; 0 or less: as many as ports allow."),
  policy: HostPolicyView.nullable().describe("Null: nobody but an operator touches its VMs when it is lost."),
  breaker: HostBreakerView.nullable().describe("Null: it takes VMs."),
  leaseLeftMs: z.int().nullable().describe("How long it counts as alive without another sign; null without a lease."),
  silentSince: time.nullable().describe("When it last said that it lives; null while it lives, or when nobody knows."),
  awayUntil: time.nullable().describe("Until when it may be away on purpose."),
  version: z.string().nullable(),
  address: z.string().nullable(),
  pools: z.array(z.string()),
  ports: z.strictObject({ first: z.int(), last: z.int() }).nullable(),
  tee: z.string().nullable(),
  accel: z.string().nullable(),
  gpu: z.string().nullable().describe("PCI address of the GPU that one VM at a time gets."),
  startedAt: time.nullable().describe("When its worker was started."),
});
export type HostView = z.infer<typeof HostView>;

/** One host with the VMs that it has. */
export const HostDetail = HostView.extend({
  vmIds: z.array(z.uuid()).describe(`At most ${HOST_VMS_SHOWN} of them; \`GET /v1/vms?host=ID\` lists all.`),
});
export type HostDetail = z.infer<typeof HostDetail>;

export const HostList = z.strictObject({ items: z.array(HostView) });
export type HostList = z.infer<typeof HostList>;

/** What became of the VMs of a host that an operator has forgotten. */
export const HostForgotten = z.strictObject({
  id: z.string(),
  requeued: z.array(z.uuid()).describe("Back in the queue, to be launched elsewhere."),
  removed: z
    .array(z.uuid())
    .describe("Their removal was asked for, or their time was over; nobody has proved their end (`unverified`)."),
  failed: z.array(z.uuid()).describe("Failed for good: several workers have died while they launched them."),
});
export type HostForgotten = z.infer<typeof HostForgotten>;
