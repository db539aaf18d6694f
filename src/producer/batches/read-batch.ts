import { DroverError } from "../../contract/errors.ts";
import type { BatchRecord } from "../../queue/batch-record.ts";
import { isBatchId } from "../../runtime/batch-id.ts";
import type { ApiDeps } from "../api-deps.ts";
import { maySee, type Principal } from "../principal.ts";

/** The principal's own batch, or any for an operator. Another owner's does not exist for it: `batch_not_found`. */
export async function readBatch(
  { batches, gate }: Pick<ApiDeps, "batches" | "gate">,
  principal: Principal,
  text: string,
): Promise<BatchRecord> {
  const batchId = text.toLowerCase();
  if (!isBatchId(batchId)) throw batchNotFound(text);
  const batch = await gate.run(() => batches.get(batchId));
  if (batch === undefined || !maySee(principal, batch.owner)) throw batchNotFound(text);
  return batch;
}

export function batchNotFound(batchId: string): DroverError {
  return new DroverError(
    "batch_not_found",
    `there is no batch ${JSON.stringify(batchId.slice(0, 64))}; GET /v1/batches lists yours`,
  );
}
