import type { Logger } from "pino";
import { policyOf } from "../attestation/attestation-policy.ts";
import type { CoseSigner } from "../attestation/cose-sign.ts";
import { loadSigningKey } from "../attestation/signing-key.ts";
import { DroverError } from "../contract/errors.ts";
import type { VmRecord } from "../contract/vm-record.ts";
import { isFinal } from "../contract/vm-state.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { ApiDeps } from "./api-deps.ts";
import type { Principal } from "./principal.ts";
import { readVm } from "./read-vm.ts";

/** Media types of draft-ietf-rats-corim. */
const UNSIGNED_TYPE = "application/rim+cbor";
const SIGNED_TYPE = "application/rim+cose";

/**
 * Who signs the policies of this API, read once at its start; undefined where they are not signed. Throws
 * `config_invalid` for a key that cannot be used.
 */
export async function openPolicySigner({
  config,
  logger,
}: {
  config: Config;
  logger: Logger;
}): Promise<CoseSigner | undefined> {
  const path = config.manager.corimSigningKey;
  if (path === "") return undefined;
  const key = await loadSigningKey(path);
  if (key.warning !== undefined) logger.warn(key.warning);
  const name = config.attestation.corimSigner;
  logger.info({ kind: key.kind, keyId: key.keyId.toString("hex"), signer: name }, "attestation policies are signed");
  return { key, name };
}

export function policyMediaType({ policySigner }: Pick<ApiDeps, "policySigner">): string {
  return policySigner === undefined ? UNSIGNED_TYPE : SIGNED_TYPE;
}

/**
 * The attestation policy of the principal's own VM as CBOR, signed where this API has a key. Throws
 * `policy_unavailable` with the reason, and what `readVm` throws.
 */
export async function attestationPolicy(
  deps: Pick<ApiDeps, "store" | "batches" | "gate" | "config" | "policySigner">,
  principal: Principal,
  vmId: string,
): Promise<Uint8Array> {
  const record = await readVm(deps, principal, vmId);
  const { attestation } = record;
  const reason = whyNone(record);
  if (attestation === undefined || reason !== undefined) throw unavailable(vmId, reason ?? NEVER_LAUNCHED);
  const form = { shape: deps.config.attestation.corimCompat, signer: deps.policySigner };
  const policy = policyOf(vmId, attestation, form);
  if (policy === undefined) throw unavailable(vmId, "its host has not measured it; `drover doctor` there says why");
  return policy;
}

const NEVER_LAUNCHED = "it has not been launched yet: what it measures is known once it runs";

/** Undefined where the record holds what the policy of the present launch is made of. */
function whyNone({ state, epoch, tee, attestation }: VmRecord): string | undefined {
  const launched = state !== "queued" && state !== "retrying" && state !== "preparing";
  if (!launched) return NEVER_LAUNCHED;
  if (epoch === 0) return "it ended before it was launched";
  if (attestation === undefined || attestation.epoch !== epoch) {
    if (tee === undefined || /^none\b/.test(tee))
      return "it is a plain VM, whose guest proves nothing: only SEV-SNP and TDX VMs have one";
    return isFinal(state)
      ? "its last launch ended before QEMU was started"
      : "the worker of its host notes no measurements that this API knows: one of the two is of an older version";
  }
  return attestation.problem;
}

function unavailable(vmId: string, reason: string): DroverError {
  return new DroverError("policy_unavailable", `VM ${vmId} has no attestation policy: ${reason}`);
}
