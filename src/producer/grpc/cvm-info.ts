import type { CvmFacts } from "../../contract/cvm-facts.ts";
import { DroverError } from "../../contract/errors.ts";
import { cvmFactsOf } from "../../runtime/cvm-facts.ts";
import { inSpan } from "../../runtime/tracing/in-span.ts";
import type { ApiDeps } from "../api-deps.ts";
import { readVm, toVmId } from "../read-vm.ts";
import type { CvmInfoReq, CvmInfoRes } from "./manager-service.ts";
import type { Answer, UnaryCall } from "./unary-call.ts";

/**
 * CVMInfo: what the host is configured with that has the VM, or had it last. For any other id, and without one, it is
 * the configuration of the machine that answers, as in Cocos; the id is echoed unchecked.
 */
export function cvmInfo(deps: ApiDeps): (call: UnaryCall<CvmInfoReq>) => Promise<Answer<CvmInfoRes>> {
  return async (call) => {
    const { id } = call.request;
    const span = deps.tracer.start("return_cvm_info", { parent: call.trace });
    const known = await inSpan(span, async () => (id === "" ? undefined : factsOfHost(deps, call)));
    const facts = known ?? cvmFactsOf(deps.config);
    return { response: { id, ...facts } };
  };
}

async function factsOfHost(deps: ApiDeps, call: UnaryCall<CvmInfoReq>): Promise<CvmFacts | undefined> {
  const { gate, hosts } = deps;
  try {
    const { host: hostId } = await readVm(deps, call.principal, toVmId(call.request.id));
    if (hostId === undefined) return undefined; // no host has had it yet
    const host = await gate.run(() => hosts.host(hostId));
    return host?.description?.cvm;
  } catch (error) {
    if (error instanceof DroverError && (error.code === "vm_not_found" || error.code === "vm_gone")) return undefined;
    throw error;
  }
}
