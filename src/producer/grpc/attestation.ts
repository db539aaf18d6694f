import { DroverError } from "../../contract/errors.ts";
import { inSpan } from "../../runtime/tracing/in-span.ts";
import type { ApiDeps } from "../api-deps.ts";
import { attestationPolicy } from "../attestation-policy.ts";
import { toVmId } from "../read-vm.ts";
import type { AttestationPolicyReq, AttestationPolicyRes } from "./manager-service.ts";
import type { Answer, UnaryCall } from "./unary-call.ts";

/** AttestationPolicy: the policy of one of the caller's VMs, with the id that was asked for. */
export function cvmPolicy(
  deps: ApiDeps,
): (call: UnaryCall<AttestationPolicyReq>) => Promise<Answer<AttestationPolicyRes>> {
  return async (call) => {
    const { id } = call.request;
    try {
      const vmId = toVmId(id);
      const span = deps.tracer.start("fetch_attestation_policy", { parent: call.trace, attributes: { vmId } });
      const policy = await inSpan(span, () => attestationPolicy(deps, call.principal, vmId));
      return { response: { info: Buffer.from(policy), id } };
    } catch (error) {
      if (!(error instanceof DroverError) || error.code !== "vm_not_found") throw error;
      // The words of Cocos's manager, with the way out behind them.
      const shown = JSON.stringify(id.slice(0, 64)).slice(1, -1);
      throw new DroverError("vm_not_found", `computationId ${shown} not found; \`drover ls\` lists your VMs`);
    }
  };
}
