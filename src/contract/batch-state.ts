/**
 * - `active`: its list is being worked off.
 * - `stopping`: too many VMs have failed; nothing further is launched, what lives ends by itself.
 * - `cancelling`: somebody cancelled it; its VMs are being removed.
 * - `ended`: every item has ended. `outcome` says how.
 */
export const BATCH_STATES = ["active", "stopping", "cancelling", "ended"] as const;
export type BatchState = (typeof BATCH_STATES)[number];
export const BATCH_OUTCOMES = ["completed", "failed", "stopped", "cancelled"] as const;
