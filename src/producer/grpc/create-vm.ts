import { status } from "@grpc/grpc-js";
import { CAUSES } from "../../contract/causes.ts";
import { DroverError } from "../../contract/errors.ts";
import { formatGoDurationMs } from "../../contract/go-duration.ts";
import type { AnswerFacts } from "../../contract/grpc-metadata.ts";
import type { VmRecord } from "../../contract/vm-record.ts";
import { isFinal } from "../../contract/vm-state.ts";
import type { ApiDeps } from "../api-deps.ts";
import { isInDoubt } from "../redis-fault.ts";
import { Seats } from "../seats.ts";
import { placementWarnings } from "../show-vms.ts";
import { submitVm } from "../submit-vm.ts";
import { isUp, waitForVm } from "../wait-for-vm.ts";
import { isWaiting } from "../waiting.ts";
import { audited } from "./audited.ts";
import { readCreateRequest } from "./create-request.ts";
import type { GivenUpVms } from "./given-up-vms.ts";
import { CAUSE_STATUSES, CallEnded } from "./grpc-status.ts";
import type { CreateReq, CreateRes } from "./manager-service.ts";
import { VmPlacement } from "./place-vm.ts";
import type { Answer, UnaryCall } from "./unary-call.ts";

/** Calls that wait for their VM at the same time; each reads its record once in a while. */
const WAITING_MAX = 4_000;

export interface CreateVmDeps {
  readonly api: ApiDeps;
  readonly givenUp: GivenUpVms;
}

/**
 * CreateVm: queues the VM, waits until it runs and answers with port and id. A VM that gets nowhere in time, or whose
 * caller is gone, is kept or removed as DROVER_GRPC_ON_CANCEL says; either way it has its owner.
 */
export function createVm(deps: CreateVmDeps): (call: UnaryCall<CreateReq>) => Promise<Answer<CreateRes>> {
  const placement = new VmPlacement(deps.api);
  const seats = new Seats("calls of CreateVm", WAITING_MAX);
  return async (call) => {
    using _seat = seats.take(call.principal);
    const record = await accept(deps, placement, call);
    const [position, warning] = await Promise.all([queuePosition(deps.api, record.vm), warningOf(deps.api, record.vm)]);
    call.tell({ ...factsOf(record.vm), ...position, ...warning });
    const startedAtMs = performance.now();
    const timeoutMs = call.timeLeftMs() ?? deps.api.config.grpcCalls.createTimeoutMs;
    const waited = await waitForVm(deps.api, { record: record.vm, until: isUp, timeoutMs, signal: call.signal });
    if (!isUp(waited) || isUnheard(deps, call, waited))
      throw await giveUp(deps, call, { ...record, vm: waited, waitedMs: performance.now() - startedAtMs });
    return answer(waited);
  };
}

/** The VM runs, and its caller hung up before it could be told: one that nobody waits for, as much as one that waits. */
function isUnheard({ api }: CreateVmDeps, { signal }: UnaryCall<CreateReq>, { state }: VmRecord): boolean {
  return signal.reason === "cancelled" && api.config.grpcCalls.onCancel === "remove" && !isFinal(state);
}

interface Accepted {
  readonly vm: VmRecord;
  /** An earlier call with the same idempotency key has made the VM; this one does not end it. */
  readonly replayed: boolean;
}

async function accept(deps: CreateVmDeps, placement: VmPlacement, call: UnaryCall<CreateReq>): Promise<Accepted> {
  const { api } = deps;
  return audited(api, call, "vm.submit", async (target) => {
    const submission = readCreateRequest(call.request, call.metadata);
    const { record, replayed } = await placement.submit(submission.request.pool, async (hostPool) => {
      if (call.signal.reason === "cancelled")
        throw new CallEnded(status.CANCELLED, "the caller hung up; nothing was queued", {});
      if (call.signal.aborted)
        throw new DroverError("shutting_down", "this server is shutting down; nothing was queued");
      const vmId = api.newVmId();
      return submitVm(api, call.principal, { ...submission, hostPool, vmId, trace: call.trace }).catch(
        async (error: unknown) => {
          throw await inDoubt(deps, call, { vmId, error });
        },
      );
    });
    target(record.vmId);
    return { vm: record, replayed };
  });
}

/** When Redis goes away while it is asked, nobody knows whether it has accepted the VM; the caller learns which one. */
async function inDoubt(
  { api, givenUp }: CreateVmDeps,
  call: UnaryCall<CreateReq>,
  { vmId, error }: { readonly vmId: string; readonly error: unknown },
): Promise<unknown> {
  if (!(error instanceof DroverError) || !isInDoubt(error)) return error;
  const isRemoved = api.config.grpcCalls.onCancel === "remove";
  if (isRemoved) await givenUp.remove(vmId, call);
  const fate = isRemoved ? "will be removed" : `is kept, and \`drover get ${vmId}\` shows it`;
  return new DroverError(error.code, `${error.message} If this one was, it is VM ${vmId}, which ${fate}.`, {
    cause: error.cause,
  });
}

/** How many VMs of its pool come before it, where that is known at once. */
async function queuePosition({ gate, queue }: ApiDeps, record: VmRecord): Promise<AnswerFacts> {
  const position = await gate.run(() => queue.position(record)).catch(() => undefined); // told where it is easy to tell
  return position === undefined ? {} : { queuePosition: String(position) };
}

/** Whether no live host could run it: it is queued all the same. */
async function warningOf(api: ApiDeps, record: VmRecord): Promise<AnswerFacts> {
  const [first] = isWaiting(record) ? await placementWarnings(api, record.pool) : [];
  return first === undefined ? {} : { warning: first.code };
}

function answer(record: VmRecord): Answer<CreateRes> {
  const { vmId, state, port, launches = [] } = record;
  // A computation of a moment has ended by now, and its port is free again: it ran all the same.
  const lastPort = port ?? launches.at(-1)?.port ?? undefined;
  if (state === "failed" || state === "removed" || state === "expired" || lastPort === undefined) throw ended(record);
  return { response: { forwardedPort: String(lastPort), cvmId: vmId }, facts: factsOf(record) };
}

/** The end of a call whose VM ended and can no longer be reached. */
function ended(record: VmRecord): CallEnded {
  const { vmId, state, cause, removal, firstRunningAtMs } = record;
  const facts = factsOf(record);
  const early = firstRunningAtMs === undefined ? " before it ran" : "";
  if (cause === undefined) {
    const by = removal === undefined ? "" : ` (${removal.reason} by ${removal.by})`;
    return new CallEnded(
      state === "expired" ? status.DEADLINE_EXCEEDED : status.FAILED_PRECONDITION,
      `VM ${vmId} is ${state}${by}${early}; call CreateVm again for another one, with another idempotency-key if this call had one`,
      facts,
    );
  }
  const { code, message } = cause;
  const said = code === "internal" ? "drover itself failed" : message;
  return new CallEnded(
    CAUSE_STATUSES[code],
    `VM ${vmId} failed${early}: ${code}: ${said}. ${CAUSES[code].action} \`drover get ${vmId}\` says more.`,
    { ...facts, cause: code },
  );
}

/** The end of a call whose VM does not run yet; by then it is sure what becomes of the VM. */
async function giveUp(
  { api, givenUp }: CreateVmDeps,
  call: UnaryCall<CreateReq>,
  { vm, replayed, waitedMs }: Accepted & { readonly waitedMs: number },
): Promise<CallEnded> {
  const { vmId, state } = vm;
  const facts = factsOf(vm);
  const isClosing = call.signal.reason === "closing";
  const isRemoved = api.config.grpcCalls.onCancel === "remove" && !replayed && !isClosing;
  if (isRemoved) await givenUp.remove(vmId, call);
  const fate = isRemoved
    ? "its removal was asked for (DROVER_GRPC_ON_CANCEL=remove)"
    : `it is kept: \`drover get ${vmId}\` shows it, \`drover rm ${vmId}\` removes it`;
  if (isClosing) {
    return new CallEnded(
      status.RESOURCE_EXHAUSTED,
      `this server is shutting down while VM ${vmId} is ${state}; ${fate}`,
      { ...facts, code: "shutting_down" },
    );
  }
  const within = formatGoDurationMs(Math.round(waitedMs));
  const why = state === "queued" || state === "retrying" ? "no host has had a free place for it" : `it is ${state}`;
  return new CallEnded(
    status.DEADLINE_EXCEEDED,
    `VM ${vmId} did not run within ${within}: ${why}; ${fate}. A longer deadline, or DROVER_GRPC_CREATE_TIMEOUT where the caller sets none, waits longer.`,
    { ...facts, code: "wait_timeout" },
  );
}

function factsOf({ vmId, state, address, port }: VmRecord): AnswerFacts {
  const isReachable = address !== undefined && port !== undefined && !isFinal(state);
  return {
    vmId,
    state,
    ...(isReachable ? { address: address.includes(":") ? `[${address}]:${port}` : `${address}:${port}` } : {}),
  };
}
