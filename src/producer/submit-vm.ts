import { DroverError } from "../contract/errors.ts";
import { parseGoDurationMs } from "../contract/go-duration.ts";
import { placementPool } from "../contract/placement.ts";
import type { VmRecord } from "../contract/vm-record.ts";
import { hasSecrets, splitRequest, type VmRequest, type VmSecrets } from "../contract/vm-request.ts";
import type { SealedFor } from "../runtime/sealing.ts";
import type { SecretKeys } from "../runtime/secret-keys.ts";
import { inSpan } from "../runtime/tracing/in-span.ts";
import type { Span, TraceContext } from "../runtime/tracing/tracer.ts";
import type { ApiDeps } from "./api-deps.ts";
import { isDigestOf, requestDigest, type SplitRequest } from "./idempotency.ts";
import type { Principal } from "./principal.ts";
import { gone, notFound } from "./read-vm.ts";
import { isRedisFault } from "./redis-fault.ts";
import { problemOfSecrets, sealForRedis } from "./request-secrets.ts";

export interface Submission {
  readonly request: VmRequest;
  readonly idempotencyKey: string | undefined;
  /** The pool of one host, which no request can name; undefined: the pool that the request names, or the first one. */
  readonly hostPool?: string | undefined;
  /** The id that the VM gets if it is accepted; undefined: a new one. */
  readonly vmId?: string;
  /** Where the span of the request stands. */
  readonly trace?: TraceContext | undefined;
}

export interface Submitted {
  readonly record: VmRecord;
  /** True when this very request had been accepted before under its idempotency key. */
  readonly replayed: boolean;
}

/**
 * Accepts a request: seals its secrets, writes the record and puts the job into its pool. Once the record is written
 * the VM is accepted; a job that could not be added then is added by a sweeper.
 */
export async function submitVm(deps: ApiDeps, principal: Principal, submission: Submission): Promise<Submitted> {
  const span = deps.tracer.start("run", { kind: "producer", parent: submission.trace });
  return inSpan(span, () => accept(deps, principal, submission, span));
}

async function accept(
  deps: ApiDeps,
  principal: Principal,
  { request, idempotencyKey, hostPool, vmId = deps.newVmId() }: Submission,
  span: Span,
): Promise<Submitted> {
  const { config, store, gate } = deps;
  const split = splitRequest(request);
  const { spec, secrets } = split;
  const keys = deps.keyRing.current; // one look: box and digest are made with the same key
  const sealedSecrets = seal(deps, { keys, sealedFor: { owner: principal.owner, vmId } }, secrets);
  const outcome = await gate.run(() =>
    store.accept({
      vmId,
      owner: principal.owner,
      digest: requestDigest(split, keys),
      spec,
      sealedSecrets,
      pool: placementPool(hostPool ?? spec.pool ?? config.pools[0] ?? "default", spec),
      priority: spec.priority ?? "normal",
      attempts: spec.attempts ?? config.launch.attempts,
      queueTimeoutMs: spec.queueTimeout === undefined ? undefined : parseGoDurationMs(spec.queueTimeout),
      idempotencyKey,
      trace: span.context,
    }),
  );
  span.set({ vmId: outcome.vmId });
  switch (outcome.kind) {
    case "gone":
      throw gone(outcome.vmId);
    case "conflict":
      return {
        record: await sameRequestUnderOldKey(deps, split, { vmId: outcome.vmId, idempotencyKey }),
        replayed: true,
      };
    case "replayed":
      return { record: await readRecord(deps, outcome.vmId), replayed: true };
    case "accepted": {
      const record = outcome.record ?? (await readRecord(deps, outcome.vmId));
      await enqueue(deps, record);
      return { record, replayed: false };
    }
  }
}

function seal(
  deps: ApiDeps,
  { keys, sealedFor }: { keys: SecretKeys | undefined; sealedFor: SealedFor },
  secrets: VmSecrets,
): string | undefined {
  if (!hasSecrets(secrets)) return undefined;
  const problem = problemOfSecrets(deps.config, secrets);
  if (problem !== undefined) {
    const { field, message } = problem;
    throw new DroverError("kbs_params_with_disk", `${field}: ${message}`, { problems: [problem] });
  }
  return sealForRedis(keys, sealedFor, secrets);
}

/** A change of the sealing key changes digests; what looks like a conflict may be the same request all the same. */
async function sameRequestUnderOldKey(
  deps: ApiDeps,
  split: SplitRequest,
  { vmId, idempotencyKey }: { vmId: string; idempotencyKey: string | undefined },
): Promise<VmRecord> {
  const record = await deps.gate.run(() => deps.store.get(vmId));
  if (record !== undefined && isDigestOf(record.digest, split, deps.keyRing.current)) return record;
  throw new DroverError(
    "idempotency_conflict",
    `Idempotency-Key ${JSON.stringify(idempotencyKey ?? "")} was used with another request (VM ${vmId}); take a new key, or send that request unchanged`,
  );
}

async function readRecord({ gate, store }: ApiDeps, vmId: string): Promise<VmRecord> {
  const record = await gate.run(() => store.get(vmId));
  if (record === undefined) throw notFound(vmId); // purged between two calls
  return record;
}

/** The VM is accepted already, so a Redis that goes away right now is not the client's concern. */
async function enqueue({ gate, queue, logger }: ApiDeps, record: VmRecord): Promise<void> {
  try {
    await gate.run(() => queue.enqueue(record));
  } catch (error) {
    if (!isRedisFault(error) && !(error instanceof DroverError && error.code === "redis_unavailable")) throw error;
    logger.warn({ vmId: record.vmId, err: error }, "the job could not be added yet; a sweeper adds it");
  }
}
