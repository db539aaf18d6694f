import { z } from "zod";
import { CAUSE_CODES } from "./causes.ts";
import { HOST_WISHES } from "./host-wish.ts";
import { HOST_VMS_SHOWN } from "./limits.ts";

const time = z.iso.datetime();

/**
 * How a host stands.
 *
 * - `live`: its lease is there.
 * - `away`: its worker was stopped on purpose and said until when; its VMs run on.
 * - `silent`: no lease, and not long enough yet to be lost.
 * - `gone`: its worker was stopped and left no VM; after a day it is forgotten, unless it is wanted otherwise than open.
 * - `lost`: silent for longer than its policy allows. What becomes of its VMs is the policy's matter.
 */
export const HOST_STATUSES = ["live", "away", "silent", "gone", "lost"] as const;
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

const HostAdmission = z.strictObject({
  state: z
    .enum(HOST_WISHES)
    .describe(
      "What an operator wants of it. `open`: it takes VMs. `cordoned`: no new ones. `draining`: no new ones until the last has ended. `evacuating`: no new ones, and those that it has are launched elsewhere.",
    ),
  since: time.nullable().describe("When that was said; null: nobody ever has."),
  by: z.string().nullable().describe("Who said it."),
  note: z.string().nullable().describe("What was written beside it."),
  evacuatesAt: time.nullable().describe("When a drain with a timeout turns into an evacuation."),
  heeded: z.boolean().describe("Its worker has heard it. A worker that is away hears it when it is back."),
  done: z.boolean().describe("A drain or an evacuation has come to its end: it is heeded and the host has no VM."),
  held: z.int().describe("VMs that an evacuation leaves here, since no other live host could take them."),
});

const HostMachineView = z.strictObject({
  cpu: z.string().nullable().describe("Model of its processor."),
  cores: z.int().describe("Processors that the worker may use."),
  kernel: z.string(),
  qemu: z.string().nullable().describe("Version of QEMU; null when it cannot be run."),
  bootedAt: time,
});

const HostMemoryView = z.strictObject({
  totalBytes: z.int(),
  reservedBytes: z.int().describe("What no VM gets (DROVER_MEMORY_RESERVE)."),
  freeBytes: z.int().nullable().describe("What is left for VMs to come; null: nobody has counted it."),
});

const HostRoomView = z.strictObject({
  slots: z.int().nullable().describe("Null: without a limit of their own."),
  ports: z.int(),
  teeKeys: z.int().nullable().describe("Keys of the hardware for confidential VMs (SNP's ASIDs, TDX's key ids)."),
  gpu: z.boolean(),
});

/** A host as every interface shows it. What a worker of another version has written may not be readable: null. */
export const HostView = z.strictObject({
  id: z.string(),
  status: z.enum(HOST_STATUSES),
  vms: z.int().describe("How many VMs it has."),
  slots: z.int().nullable().describe("MANAGER_MAX_VMS: how many it takes at most; 0 or less: as many as ports allow."),
  policy: HostPolicyView.nullable().describe("Null: nobody but an operator touches its VMs when it is lost."),
  admission: HostAdmission.describe("Whether it is meant to take VMs."),
  breaker: HostBreakerView.nullable().describe("Null: it does not pause by itself."),
  leaseLeftMs: z.int().nullable().describe("How long it counts as alive without another sign; null without a lease."),
  seenAt: time.nullable().describe("When it last said that it lives."),
  silentSince: time.nullable().describe("When it last said that it lives; null while it lives, or when nobody knows."),
  awayUntil: time.nullable().describe("Until when it may be away on purpose."),
  version: z.string().nullable(),
  address: z.string().nullable(),
  pools: z.array(z.string()),
  serves: z
    .array(z.string())
    .describe("The queues that it looks into: its pools with what their VMs may need, and its own."),
  ports: z.strictObject({ first: z.int(), last: z.int() }).nullable(),
  portsTaken: z.int().nullable().describe("Ports that VMs of this machine hold now."),
  tee: z.string().nullable(),
  accel: z.string().nullable(),
  memory: HostMemoryView.nullable(),
  memoryClasses: z.record(z.string(), z.int()).describe("The sizes of memory that it offers by name, in bytes."),
  labels: z.record(z.string(), z.string()).describe("What requests can ask for as `hostLabels`."),
  room: HostRoomView.nullable().describe("What is left for VMs to come, as of a second ago or so."),
  gpu: z.string().nullable().describe("PCI address of the GPU that one VM at a time gets."),
  machine: HostMachineView.nullable().describe("Null: its worker does not say so."),
  startedAt: time.nullable().describe("When its worker was started."),
  metrics: z.string().nullable().describe("Where its worker's metrics are scraped; null where they are not offered."),
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
