import type { BatchRetried } from "../../contract/batch.ts";
import type { CauseCode } from "../../contract/causes.ts";
import { DroverError } from "../../contract/errors.ts";
import type { BatchRecord } from "../../queue/batch-record.ts";
import type { RefusedRetry } from "../../queue/batch-store.ts";
import type { ApiDeps } from "../api-deps.ts";
import type { Principal } from "../principal.ts";
import { toBatchView } from "./batch-view.ts";
import { batchNotFound, readBatch } from "./read-batch.ts";

/**
 * Cancels a batch: nothing further of it is launched, and its VMs are removed. Gives the batch afterwards. Twice, or
 * one that has ended, is no error.
 */
export async function cancelBatch(deps: ApiDeps, principal: Principal, text: string): Promise<BatchRecord> {
  const { batchId } = await readBatch(deps, principal, text);
  const outcome = await deps.gate.run(() => deps.batches.cancel(batchId, principal.owner));
  if (outcome === "not_found") throw batchNotFound(batchId);
  return readBatch(deps, principal, batchId);
}

const REFUSALS: Readonly<Record<RefusedRetry["code"], string>> = {
  vm_gone: "its record is deleted by now; submit the request again",
  vm_removed: "its removal was asked for, so it never runs again; submit the request again",
  secrets_gone: "its secrets are deleted by now; submit the request again",
};

/** Puts the failed VMs of a batch back into its list, all or those of one cause. */
export async function retryBatch(
  deps: ApiDeps,
  principal: Principal,
  { text, cause }: { readonly text: string; readonly cause: CauseCode | undefined },
): Promise<BatchRetried> {
  const { batchId } = await readBatch(deps, principal, text);
  const { kind, retried, refused } = await deps.gate.run(() => deps.batches.retryFailed(batchId, cause));
  if (kind === "not_found") throw batchNotFound(batchId);
  if (kind === "cancelling")
    throw new DroverError("batch_ended", `batch ${batchId} was cancelled, so nothing of it is launched any more`);
  const batch = await readBatch(deps, principal, batchId);
  return {
    retried,
    refused: refused.map(({ vmId, code }) => ({ vmId, code, message: REFUSALS[code] })),
    batch: toBatchView(batch, Date.now()),
  };
}
