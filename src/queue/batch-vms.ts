import { withDefaults } from "../contract/batch-defaults.ts";
import { parseGoDurationMs } from "../contract/go-duration.ts";
import { placementPool } from "../contract/placement.ts";
import { hasSecrets, type PriorityClass, type VmSpec } from "../contract/vm-request.ts";
import { boxKeyId, openSealed, sealSecrets } from "../runtime/sealing.ts";
import type { SecretKeys } from "../runtime/secret-keys.ts";
import type { BatchRecord } from "./batch-record.ts";

/** What an item asks for, its batch's defaults under it, as a single request would be accepted. */
export interface ItemRequest {
  readonly spec: VmSpec;
  readonly pool: string;
  readonly priority: PriorityClass;
  readonly attempts: number;
  readonly queueTimeoutMs: number | undefined;
}

export function itemRequest(batch: Pick<BatchRecord, "defaults" | "pool" | "attempts">, own: VmSpec): ItemRequest {
  const spec = withDefaults(batch.defaults, own);
  return {
    spec,
    pool: placementPool(spec.pool ?? batch.pool, spec),
    priority: spec.priority ?? "normal",
    attempts: spec.attempts ?? batch.attempts,
    queueTimeoutMs: spec.queueTimeout === undefined ? undefined : parseGoDurationMs(spec.queueTimeout),
  };
}

/** Whether the boxes of a batch's VMs can be made here: without shared secrets an item's own box is its VM's. */
export function canSeal(batch: Pick<BatchRecord, "shared">, keys: SecretKeys | undefined): boolean {
  return batch.shared === undefined || keys?.byId.has(boxKeyId(batch.shared)) === true;
}

/**
 * Makes boxes for the VMs of a batch: the shared secrets under an item's own, sealed for its VM as those of a single
 * request are, so that a host needs to know nothing of batches. What cannot be opened is handed on as it is: its launch
 * fails with `secret_unreadable`, where an operator sees it.
 */
export function vmBoxes(
  { owner, batchId, shared }: Pick<BatchRecord, "owner" | "batchId" | "shared">,
  keys: SecretKeys | undefined,
): (vmId: string, own: string | undefined) => string | undefined {
  if (shared === undefined || keys === undefined) return (_vmId, own) => own ?? shared;
  const common = opened(() => openSealed(keys, { owner, vmId: batchId }, shared));
  return (vmId, own) => {
    if (common === undefined) return shared;
    const mine = own === undefined ? {} : opened(() => openSealed(keys, { owner, vmId }, own));
    if (mine === undefined) return own;
    const secrets = withDefaults(common, mine);
    return hasSecrets(secrets) ? sealSecrets(keys, { owner, vmId }, secrets) : undefined;
  };
}

function opened<T>(open: () => T): T | undefined {
  try {
    return open();
  } catch {
    return undefined; // told by the launch, which fails the same way
  }
}
