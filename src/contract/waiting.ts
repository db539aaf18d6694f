import { z } from "zod";

/**
 * Why a VM that waits is not launched now. Where hosts differ in what keeps them from it, the one counts that is nearest
 * to taking it, and the message tells of all.
 */
export const WAITING_REASONS = {
  retry_later: "Its next try has a time, which has not come.",
  paused: "Its queue was paused (in BullMQ; drover itself never does this).",
  just_accepted: "It was accepted a moment ago, and is on its way into its queue.",
  no_live_host: "The hosts that could run it show no sign of life, or there is no host at all.",
  no_host_fits: "No host meets what it needs.",
  hosts_cordoned: "An operator keeps every host that could run it from taking new VMs.",
  breaker_open: "Every host that could run it rests, because its last launches failed by its own fault.",
  avoided: "It keeps away for a while from every host that could run it, because it failed there by the host's fault.",
  hosts_full: "Every host that could run it has as many VMs as it takes (MANAGER_MAX_VMS).",
  ports_full: "Every host that could run it has no free port (MANAGER_QEMU_HOST_FWD_RANGE).",
  memory_full: "Every host that could run it has too little memory left.",
  tee_keys_full: "Every host that could run it has given away all its keys for confidential VMs.",
  gpu_busy: "The GPU of every host that could run it is held by another VM.",
  behind_others: "A host has room for it, and others are before it in its queue.",
  starting_soon: "A host has room for it and it is the next one, or it was fetched in this moment.",
} as const;

export type WaitingReason = keyof typeof WAITING_REASONS;

const REASONS = Object.keys(WAITING_REASONS) as readonly WaitingReason[];

/** Why a VM waits. The numbers are of a moment ago. */
export const WaitingView = z.strictObject({
  reason: z.enum(REASONS),
  message: z.string().describe("For people; names no host."),
  position: z.int().nullable().describe("Its place in its queue: 1 is the next one. Null while it is not in it."),
  retryAt: z.iso.datetime().nullable().describe("With `retry_later`, `avoided` and `breaker_open`: when that ends."),
  hostsThatFit: z.int().describe("Live hosts that meet its needs, whether or not they have room."),
  hostsWithRoom: z.int().describe("Of these, those that could take it now."),
  freeSlots: z.int().describe("How many VMs those could take together."),
});
export type WaitingView = z.infer<typeof WaitingView>;

/** What whoever submits should know, though the VM was accepted. */
export const SubmitWarning = z.strictObject({
  code: z.enum(["no_host_fits", "no_live_host"] as const satisfies readonly WaitingReason[]),
  message: z.string(),
});
export type SubmitWarning = z.infer<typeof SubmitWarning>;
