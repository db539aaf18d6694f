import { DroverError } from "../contract/errors.ts";
import type { VmRecord } from "../contract/vm-record.ts";
import { itemOfVmId } from "../runtime/batch-id.ts";
import type { ApiDeps } from "./api-deps.ts";
import { maySee, type Principal } from "./principal.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** A VM's id from a path; what cannot be one is answered as any unknown id is. */
export function toVmId(text: string): string {
  const id = text.toLowerCase();
  if (!UUID.test(id)) throw notFound(text);
  return id;
}

/** The principal's own VM, or any for an operator. Another owner's does not exist for it: `vm_not_found`. `vm_gone` when it was purged. */
export async function readVm(
  deps: Pick<ApiDeps, "store" | "batches" | "gate">,
  principal: Principal,
  vmId: string,
): Promise<VmRecord> {
  const stored = () => deps.gate.run(() => deps.store.get(vmId));
  // One that leaves the list of its batch between the two looks has a record by the third.
  const record =
    (await stored()) ??
    (await deps.gate.run(() => deps.batches.listedVm(vmId))) ??
    (itemOfVmId(vmId) === undefined ? undefined : await stored());
  if (record !== undefined) {
    if (!maySee(principal, record.owner)) throw notFound(vmId);
    return record;
  }
  const mark = await deps.gate.run(() => deps.store.removalMark(vmId));
  // A tombstone names whose VM it was: a stranger's never existed.
  throw mark === undefined || (mark.owner !== undefined && !maySee(principal, mark.owner))
    ? notFound(vmId)
    : gone(vmId);
}

export function notFound(vmId: string): DroverError {
  return new DroverError(
    "vm_not_found",
    `there is no VM ${JSON.stringify(vmId.slice(0, 64))}; GET /v1/vms lists yours`,
  );
}

export function gone(vmId: string): DroverError {
  return new DroverError("vm_gone", `VM ${vmId} ended long ago and its record was deleted; nothing is left of it`);
}
