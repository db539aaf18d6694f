import { DroverError } from "../contract/errors.ts";
import type { VmRecord } from "../contract/vm-record.ts";
import { inSpan } from "../runtime/tracing/in-span.ts";
import type { TraceContext } from "../runtime/tracing/tracer.ts";
import type { ApiDeps } from "./api-deps.ts";
import type { Principal } from "./principal.ts";
import { notFound, readVm } from "./read-vm.ts";

export interface Removal {
  readonly vmId: string;
  readonly force: boolean;
  /** Where the span of the request stands. */
  readonly trace?: TraceContext | undefined;
}

/**
 * Asks for the removal of a VM; from then on it never runs again. Gives the record afterwards: final when nothing had
 * to be stopped, else the host has been told. Twice is no error.
 */
export async function removeVm(
  deps: ApiDeps,
  principal: Principal,
  { vmId, force, trace }: Removal,
): Promise<VmRecord> {
  const known = await readVm(deps, principal, vmId);
  const span = deps.tracer.start("stop", { parent: trace, links: [known.trace], attributes: { vmId } });
  return inSpan(span, () => remove(deps, principal, { vmId, force }));
}

async function remove(deps: ApiDeps, principal: Principal, { vmId, force }: Removal): Promise<VmRecord> {
  const { gate, store, batches, queue, logger } = deps;
  const outcome = await gate.run(() => store.requestRemoval({ vmId, reason: "requested", by: principal.owner, force }));
  if (outcome.kind === "not_found") {
    if ((await gate.run(() => batches.removeListed(vmId))) === "not_listed") throw notFound(vmId);
    return readVm(deps, principal, vmId);
  }
  const { host } = outcome;
  if (outcome.kind === "marked" && host !== undefined) {
    try {
      await gate.run(() => queue.notifyRemoval(host, vmId));
    } catch (error) {
      // The mark is the truth: every host reads the marks of its VMs by itself, a little later.
      logger.warn({ vmId, host, err: error }, "the host could not be told of a removal; it will see the mark");
    }
  }
  return readVm(deps, principal, vmId);
}

/** Puts a failed VM back into the queue, with all its attempts. */
export async function retryVm(deps: ApiDeps, principal: Principal, vmId: string): Promise<VmRecord> {
  const before = await readVm(deps, principal, vmId);
  const { kind } = await deps.gate.run(() => deps.store.retryByHand({ vmId, by: principal.owner }));
  switch (kind) {
    case "queued":
      return readVm(deps, principal, vmId);
    case "not_found":
      if (before.state === "failed") throw notFound(vmId);
      throw new DroverError("not_retryable", notFailed(before)); // it is in the list of its batch
    case "marked":
      throw new DroverError(
        "not_retryable",
        `the removal of VM ${vmId} was asked for, so it never runs again; submit the request again`,
      );
    case "secrets_gone":
      throw new DroverError("secrets_gone", `the secrets of VM ${vmId} are deleted by now; submit the request again`);
    case "full": // is asked for batches only
    case "not_failed":
      throw new DroverError("not_retryable", notFailed(before));
  }
}

function notFailed({ vmId, state }: VmRecord): string {
  // A VM is `failed` a moment before its job is settled; a retry in between is refused and soon possible.
  if (state === "failed") return `VM ${vmId} has failed just now and is still being settled; try again in a moment`;
  return `VM ${vmId} is ${state}; only a failed VM can be retried`;
}
