import { z } from "zod";
import { BATCH_OUTCOMES } from "./batch-state.ts";
import { CAUSE_CODES } from "./causes.ts";
import { VM_STATES } from "./vm-state.ts";

const cause = z.strictObject({ code: z.enum(CAUSE_CODES), message: z.string() }).describe("Why; the codes are stable.");
const epoch = z.int().nonnegative().describe("Number of the launch, from 1; grows with every fetch.");
const launch = { host: z.string().describe("Id of the host that has the launch."), epoch };
const port = z.int().describe("Port of the host that is forwarded to the guest.");
const delayMs = z.int().describe("Time until it may be launched again.");
const exitCode = z.int().nullable().describe("What the guest handed back; null without a result.");
const attempt = z.int().describe("How many attempts are used by now.");

/**
 * Every event, its data and when it happens. Names are past or present states, never renamed; docs/events.md is made
 * from this table.
 */
export const EVENT_CATALOGUE = {
  "vm.queued": {
    when: "The request was accepted, or a VM went back to the queue without using an attempt, or was retried by hand.",
    data: z.strictObject({
      pool: z.string().describe("The pool that was asked for."),
      reason: z.enum(["accepted", "requeued", "released", "retried_by_hand", "host_lost", "host_forgotten"]),
      cause: cause.optional(),
      delayMs: delayMs.optional(),
    }),
  },
  "vm.preparing": {
    when: "A host took the VM: slot and port are held, files are being made.",
    data: z.strictObject({ ...launch, port }),
  },
  "vm.port_changed": {
    when: "The port turned out to be taken by a foreign process; the next one was taken within the same attempt.",
    data: z.strictObject({ ...launch, port, setAside: z.int().describe("The port that is not used for a while.") }),
  },
  "vm.starting": {
    when: "QEMU was started.",
    data: z.strictObject({ ...launch, port, pid: z.int().describe("Process id of QEMU.") }),
  },
  "vm.running": {
    when: "QEMU says that the guest runs and the forwarded port is bound by this QEMU.",
    data: z.strictObject({
      ...launch,
      address: z.string().describe("What a client connects to, with the port."),
      port,
      bootMs: z.int().describe("Time since QEMU was started."),
    }),
  },
  "vm.ready": {
    when: "The readiness probe answered.",
    data: z.strictObject({ ...launch, readyMs: z.int().describe("Time since QEMU was started.") }),
  },
  "vm.adopted": {
    when: "A new worker of the host took over the running VM of the worker before it; the VM was not touched.",
    data: z.strictObject({ ...launch, port: port.nullable(), pid: z.int().describe("Process id of QEMU.") }),
  },
  "vm.reasserted": {
    when: "Redis had lost what it knew of the live VM, or held an older state of it; its host has said it again.",
    data: z.strictObject({
      ...launch,
      port: port.nullable(),
      lost: z.string().describe("What Redis had lost."),
      state: z.enum(VM_STATES).describe("The state that the VM is in, whatever the events before it say."),
    }),
  },
  "vm.copy_stopped": {
    when: "A host that came back stopped its own copy of a VM that had been launched elsewhere meanwhile.",
    data: z.strictObject({ ...launch, currentEpoch: z.int().describe("The launch that counts.") }),
  },
  "vm.removal_requested": {
    when: "Somebody asked for the removal, or a time limit did. From here on the VM is never launched again.",
    data: z.strictObject({
      reason: z.enum(["requested", "ttl", "queue_timeout"]),
      by: z.string().describe("Owner who asked, or the part of drover that watches time limits."),
    }),
  },
  "vm.stopping": { when: "The host began to stop the VM.", data: z.strictObject({ ...launch, reason: z.string() }) },
  "vm.retrying": {
    when: "A launch failed and another attempt follows after the delay.",
    data: z.strictObject({ ...launch, cause, attempt, attempts: z.int().describe("How many there are."), delayMs }),
  },
  "vm.completed": {
    when: "The guest ended by itself, with exit code 0 where it handed one back.",
    data: z.strictObject({ ...launch, reason: z.string().describe("How the guest ended."), exitCode }),
  },
  "vm.removed": {
    when: "The VM is gone on request: no process, file, port or secret is left.",
    data: z.strictObject({
      reason: z.string(),
      unverified: z
        .boolean()
        .optional()
        .describe("True when an operator forgot the host, so that nobody has proved it there."),
    }),
  },
  "vm.expired": {
    when: "The VM is gone because its time limit passed.",
    data: z.strictObject({ reason: z.enum(["ttl", "queue_timeout"]), unverified: z.boolean().optional() }),
  },
  "vm.failed": {
    when: "The last attempt failed, or the cause makes a retry senseless.",
    data: z.strictObject({
      cause,
      attempt,
      host: z.string().nullable().describe("Null when no host had it."),
      epoch,
      exitCode,
    }),
  },
  "batch.accepted": {
    when: "A batch was accepted. The subject is the batch.",
    data: z.strictObject({
      name: z.string().optional(),
      total: z.int().describe("How many requests it has."),
    }),
  },
  "batch.completed": {
    when: "The last item of a batch has ended. It comes again when its failed VMs were retried meanwhile. The subject is the batch.",
    data: z.strictObject({
      outcome: z.enum(BATCH_OUTCOMES),
      total: z.int(),
      completed: z.int(),
      failed: z.int(),
      expired: z.int(),
      removed: z.int(),
      skipped: z.int().describe("Never launched, because the batch was stopped or cancelled."),
    }),
  },
} as const satisfies Record<string, { when: string; data: z.ZodType }>;

export type VmEventType = keyof typeof EVENT_CATALOGUE;
export type VmEventData<T extends VmEventType> = z.infer<(typeof EVENT_CATALOGUE)[T]["data"]>;
export const VM_EVENT_TYPES = Object.keys(EVENT_CATALOGUE) as [VmEventType, ...VmEventType[]];

/** The CloudEvents 1.0 envelope in which an event reaches a reader (structured JSON mode). */
export const CloudEvent = z.strictObject({
  specversion: z.literal("1.0"),
  id: z.string().describe("`<subject>/<sequence>`: the same event always has the same id."),
  source: z.string().describe("What it is about: `/drover/vms` or `/drover/batches`."),
  type: z.enum(VM_EVENT_TYPES).describe("One of the types below."),
  subject: z.string().describe("The VM's id, or the batch's."),
  time: z.iso.datetime().describe("By the clock of Redis, so that all hosts agree."),
  datacontenttype: z.literal("application/json"),
  sequence: z.string().describe("Counts the events of one subject from 1, without holes (CloudEvents extension)."),
  owner: z.string().describe("Whose it is (CloudEvents extension)."),
  data: z.record(z.string(), z.unknown()).describe("As the type has it, below."),
});
export type CloudEvent = z.infer<typeof CloudEvent>;
