import { status } from "@grpc/grpc-js";
import { DroverError } from "../../contract/errors.ts";
import type { VmRecord } from "../../contract/vm-record.ts";
import type { ApiDeps } from "../api-deps.ts";
import { removeVm } from "../change-vm.ts";
import { toVmId } from "../read-vm.ts";
import { Seats } from "../seats.ts";
import { hasEnded, waitForVm } from "../wait-for-vm.ts";
import { audited } from "./audited.ts";
import { CallEnded } from "./grpc-status.ts";
import type { RemoveReq, RemoveRes } from "./manager-service.ts";
import type { Answer, UnaryCall } from "./unary-call.ts";

/** How long a caller without a deadline waits for the end: longer than a stop of a willing host takes. */
const WAIT_MAX_MS = 60_000;
/** Calls that wait for an end at the same time; a caller with a deadline of hours may wait for a lost host as long. */
const WAITING_MAX = 4_000;

const REMOVED: Answer<RemoveRes> = { response: {} };

/** RemoveVm: answers when the VM is really gone. One that ended before, and one long purged, are what was asked for. */
export function removeCvm(deps: ApiDeps): (call: UnaryCall<RemoveReq>) => Promise<Answer<RemoveRes>> {
  const seats = new Seats("calls of RemoveVm", WAITING_MAX);
  return async (call) => {
    using _seat = seats.take(call.principal);
    const record = await askRemoval(deps, call);
    if (record === undefined || hasEnded(record)) return REMOVED;
    const timeoutMs = call.timeLeftMs() ?? WAIT_MAX_MS;
    const waited = await waitForVm(deps, { record, until: hasEnded, timeoutMs, signal: call.signal });
    if (hasEnded(waited)) return REMOVED;
    const { vmId, state, host } = waited;
    const why = call.signal.reason === "closing" ? "this server is shutting down" : "the time is over";
    throw new CallEnded(
      call.signal.reason === "closing" ? status.RESOURCE_EXHAUSTED : status.DEADLINE_EXCEEDED,
      `the removal of VM ${vmId} was asked for and goes on by itself, but ${why} while it is ${state}${host === undefined ? "" : ` on host ${host}`}; \`drover get ${vmId}\` shows when it is gone`,
      { vmId, state, code: "wait_timeout" },
    );
  };
}

/** Undefined when the VM was purged long ago. */
async function askRemoval(deps: ApiDeps, call: UnaryCall<RemoveReq>): Promise<VmRecord | undefined> {
  try {
    return await audited(deps, call, "vm.remove", async (target) => {
      const vmId = toVmId(call.request.cvmId);
      target(vmId);
      return removeVm(deps, call.principal, { vmId, force: false, trace: call.trace });
    });
  } catch (error) {
    if (!(error instanceof DroverError)) throw error;
    if (error.code === "vm_gone") return undefined;
    // The words of Cocos's manager, with the way out behind them.
    if (error.code === "vm_not_found")
      throw new DroverError("vm_not_found", `entity not found: ${error.message.replace("GET /v1/vms", "`drover ls`")}`);
    throw error;
  }
}
