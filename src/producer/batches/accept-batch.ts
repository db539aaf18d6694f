import { DroverError } from "../../contract/errors.ts";
import { hasSecrets, type VmSecrets } from "../../contract/vm-request.ts";
import type { BatchRecord } from "../../queue/batch-record.ts";
import type { BatchUpload, CommitOutcome } from "../../queue/batch-upload.ts";
import type { SecretKeys } from "../../runtime/secret-keys.ts";
import type { TraceContext } from "../../runtime/tracing/tracer.ts";
import type { ApiDeps } from "../api-deps.ts";
import type { ReadJson } from "../json-text.ts";
import type { Principal } from "../principal.ts";
import { problemOfSecrets, sealForRedis } from "../request-secrets.ts";
import { BatchDigest } from "./batch-digest.ts";
import { BatchIntake, type IntakeOptions } from "./batch-intake.ts";
import { batchInvalid } from "./batch-invalid.ts";
import { batchNotFound } from "./read-batch.ts";

export interface BatchInput {
  readonly chunks: AsyncIterable<Buffer>;
  readonly format: IntakeOptions["format"];
  readonly readJson: ReadJson;
  /** Takes what is in order, and leaves out the rest. */
  readonly partial: boolean;
  readonly idempotencyKey: string | undefined;
  /** Where the span of the request stands. */
  readonly trace: TraceContext | undefined;
}

export interface AcceptedBatch {
  readonly batch: BatchRecord;
  /** True when this very batch had been accepted before under its idempotency key. */
  readonly replayed: boolean;
}

/**
 * Accepts a batch while it comes in: every request is checked, its secrets are sealed, and it is staged in Redis; what
 * was staged becomes a batch at the end, by one step, or nothing. Memory does not grow with the batch.
 */
export async function acceptBatch(deps: ApiDeps, principal: Principal, input: BatchInput): Promise<AcceptedBatch> {
  const { batches, gate, logger } = deps;
  const { owner } = principal;
  const upload = batches.newUpload({ owner, idempotencyKey: input.idempotencyKey });
  try {
    return await take(deps, { owner, upload, input });
  } catch (error) {
    // What is staged goes by itself a little later, should this fail.
    await gate
      .run(() => upload.abandon())
      .catch((err: unknown) => logger.debug({ err }, "an upload stays for a while"));
    throw error;
  }
}

async function take(
  deps: ApiDeps,
  { owner, upload, input }: { readonly owner: string; readonly upload: BatchUpload; readonly input: BatchInput },
): Promise<AcceptedBatch> {
  const { config, gate, batches } = deps;
  const keys = deps.keyRing.current; // one look: boxes and digest are made with the same key
  const intake = new BatchIntake({
    format: input.format,
    readJson: input.readJson,
    itemsMax: config.batches.itemsMax,
    problemOfSecrets: (secrets) => problemOfSecrets(config, secrets),
  });
  // A repeated one is only compared: its items are in Redis already.
  const known = input.idempotencyKey === undefined ? undefined : await gate.run(() => batches.get(upload.batchId));
  const digest = new BatchDigest();
  let sealsAny = false;
  for await (const { line, spec, secrets } of intake.items(input.chunks)) {
    digest.add({ spec, secrets });
    sealsAny ||= hasSecrets(secrets);
    if (known !== undefined) continue;
    const sealed = seal(keys, { owner, vmId: upload.vmId(upload.total) }, secrets);
    await gate.run(() => upload.add({ line, spec, sealed }));
  }
  const { head } = intake;
  digest.add(head);
  sealsAny ||= hasSecrets(head.defaults.secrets);
  const { digest: text, isOf } = digest.finish({ keys, hasSecrets: sealsAny });
  const invalid = batchInvalid(intake, input.partial);
  if (invalid !== undefined) throw invalid;
  if (sealsAny) assertOpenable(keys, deps.keyRing.current);
  const outcome =
    known === undefined
      ? await gate.run(() =>
          upload.commit({
            digest: text,
            name: head.name,
            defaults: head.defaults.spec,
            sealed: seal(keys, { owner, vmId: upload.batchId }, head.defaults.secrets),
            maxParallel: head.maxParallel,
            stopAfterFailures: head.stopAfterFailures,
            pool: config.pools[0] ?? "default",
            attempts: config.launch.attempts,
            rejected: intake.rejected,
            problems: intake.problems,
            eventsMax: config.eventsMax,
            trace: input.trace,
          }),
        )
      : { kind: "conflict" as const, digest: known.digest };
  const replayed = isReplay(outcome, isOf, input.idempotencyKey);
  const batch = await gate.run(() => batches.get(upload.batchId));
  if (batch === undefined) throw batchNotFound(upload.batchId); // deleted between two calls
  return { batch, replayed };
}

/** An upload takes minutes: what was sealed with a key that was taken out meanwhile could nobody open. */
function assertOpenable(sealedWith: SecretKeys | undefined, now: SecretKeys | undefined): void {
  if (sealedWith === undefined || now?.byId.has(sealedWith.sealingId)) return;
  throw new DroverError(
    "redis_unavailable",
    `the key ${sealedWith.sealingId} that sealed the batch was taken out during the upload; nothing was accepted: send the batch again`,
  );
}

/** An empty text in a request's own secrets hides a shared one, so that it is sealed as well. */
function seal(
  keys: SecretKeys | undefined,
  sealedFor: { readonly owner: string; readonly vmId: string },
  secrets: VmSecrets,
): string | undefined {
  const isEmpty = Object.values(secrets).every((value) => value === "");
  if (!hasSecrets(secrets) || (isEmpty && keys === undefined)) return undefined;
  return sealForRedis(keys, sealedFor, secrets);
}

function isReplay(
  { kind, digest }: CommitOutcome,
  isOf: (earlier: string) => boolean,
  idempotencyKey: string | undefined,
): boolean {
  const key = JSON.stringify(idempotencyKey ?? "");
  switch (kind) {
    case "accepted":
      return false;
    case "replayed":
      return true;
    case "conflict":
      if (isOf(digest)) return true;
      throw new DroverError(
        "idempotency_conflict",
        `Idempotency-Key ${key} was used with another batch; take a new key, or send that batch unchanged`,
      );
    case "gone":
      throw new DroverError(
        "idempotency_conflict",
        `Idempotency-Key ${key} was used with a batch that is deleted by now; take a new key`,
      );
    case "lost":
      throw new DroverError(
        "redis_unavailable",
        "what had been sent is not in Redis any more, and nothing was accepted; send the batch again with the same Idempotency-Key",
      );
  }
}
