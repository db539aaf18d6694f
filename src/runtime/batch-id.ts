import { createHash } from "node:crypto";
import { BATCH_ITEMS_MAX } from "../contract/limits.ts";

/**
 * A batch's id is what the ids of its VMs have in common: a UUID of version 8 (RFC 9562: free to its maker) without its
 * first eight digits. Those hold the place of the VM in the batch, scrambled, so that the first digits tell VMs apart.
 */
const BATCH_ID = /^[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const VM_OF_BATCH = /^([0-9a-f]{8})-([0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})$/;

/** Whether a text has the form of a batch's id. */
export function isBatchId(text: string): boolean {
  return BATCH_ID.test(text);
}

/** The id of a batch, made of any bytes: the same bytes give the same id. */
export function batchIdOf(seed: string | Uint8Array): string {
  const hex = createHash("sha256").update("drover batch\0").update(seed).digest("hex");
  const variant = "89ab"[Number.parseInt(hex.charAt(7), 16) % 4];
  return `${hex.slice(0, 4)}-8${hex.slice(4, 7)}-${variant}${hex.slice(8, 11)}-${hex.slice(11, 23)}`;
}

/** The id of the VM at a place of a batch, counted from 0. */
export function vmIdOfItem(batchId: string, index: number): string {
  const place = (index ^ maskOf(batchId)) >>> 0;
  return `${place.toString(16).padStart(8, "0")}-${batchId}`;
}

/** The batch and the place that a VM's id names, or undefined where it is none of a batch. */
export function itemOfVmId(vmId: string): { readonly batchId: string; readonly index: number } | undefined {
  const [, place = "", batchId = ""] = VM_OF_BATCH.exec(vmId) ?? [];
  if (batchId === "") return undefined;
  const index = (Number.parseInt(place, 16) ^ maskOf(batchId)) >>> 0;
  return index < BATCH_ITEMS_MAX ? { batchId, index } : undefined;
}

function maskOf(batchId: string): number {
  return createHash("sha256").update("drover item\0").update(batchId).digest().readUInt32BE(0);
}
