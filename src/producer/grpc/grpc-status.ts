import { Metadata, type ServerInterceptingCallInterface, type StatusObject, status } from "@grpc/grpc-js";
import type { CauseCode } from "../../contract/causes.ts";
import { DroverError, type ErrorCode } from "../../contract/errors.ts";
import { ANSWER_METADATA, type AnswerFacts } from "../../contract/grpc-metadata.ts";
import { toDroverError } from "../problem.ts";

/** The statuses that drover's own methods end with. */
const {
  INVALID_ARGUMENT,
  UNAUTHENTICATED,
  NOT_FOUND,
  FAILED_PRECONDITION,
  RESOURCE_EXHAUSTED,
  DEADLINE_EXCEEDED,
  INTERNAL,
} = status;

/**
 * The gRPC status of every error code. cocos-cli replaces the text of PERMISSION_DENIED and UNAVAILABLE by one of its
 * own, so neither is used: what somebody has to change first is FAILED_PRECONDITION, and what passes by waiting is
 * RESOURCE_EXHAUSTED.
 */
export const ERROR_STATUSES = {
  invalid_request: INVALID_ARGUMENT,
  malformed_body: INVALID_ARGUMENT,
  unauthenticated: UNAUTHENTICATED,
  forbidden: FAILED_PRECONDITION,
  csrf_failed: FAILED_PRECONDITION,
  token_not_found: NOT_FOUND,
  host_not_allowed: FAILED_PRECONDITION,
  origin_not_allowed: FAILED_PRECONDITION,
  not_found: NOT_FOUND,
  vm_not_found: NOT_FOUND,
  host_not_found: NOT_FOUND,
  method_not_allowed: INVALID_ARGUMENT,
  not_acceptable: INVALID_ARGUMENT,
  idempotency_conflict: FAILED_PRECONDITION,
  not_retryable: FAILED_PRECONDITION,
  secrets_gone: FAILED_PRECONDITION,
  host_alive: FAILED_PRECONDITION,
  no_worker_here: FAILED_PRECONDITION,
  policy_unavailable: FAILED_PRECONDITION,
  vm_gone: NOT_FOUND,
  request_timeout: DEADLINE_EXCEEDED,
  body_too_large: RESOURCE_EXHAUSTED,
  uri_too_long: INVALID_ARGUMENT,
  unsupported_media_type: INVALID_ARGUMENT,
  secrets_key_missing: FAILED_PRECONDITION,
  kbs_params_with_disk: FAILED_PRECONDITION,
  too_many_requests: RESOURCE_EXHAUSTED,
  headers_too_large: RESOURCE_EXHAUSTED,
  internal_error: INTERNAL,
  illegal_transition: INTERNAL,
  config_invalid: INTERNAL,
  redis_unavailable: RESOURCE_EXHAUSTED,
  shutting_down: RESOURCE_EXHAUSTED,
  wait_timeout: DEADLINE_EXCEEDED,
  batch_not_found: NOT_FOUND,
  batch_ended: FAILED_PRECONDITION,
  batch_invalid: INVALID_ARGUMENT,
  failure_group_not_found: NOT_FOUND,
  host_state: FAILED_PRECONDITION,
} as const satisfies Record<ErrorCode, status>;

/** The gRPC status of a VM that failed before it ran, by its cause. */
export const CAUSE_STATUSES = {
  port_taken: RESOURCE_EXHAUSTED,
  ports_exhausted: RESOURCE_EXHAUSTED,
  kernel_missing: FAILED_PRECONDITION,
  kernel_invalid: FAILED_PRECONDITION,
  initrd_missing: FAILED_PRECONDITION,
  firmware_missing: FAILED_PRECONDITION,
  disk_source_missing: FAILED_PRECONDITION,
  qemu_missing: FAILED_PRECONDITION,
  privileges_missing: FAILED_PRECONDITION,
  kvm_unavailable: FAILED_PRECONDITION,
  cpu_unsupported: FAILED_PRECONDITION,
  tee_unsupported: FAILED_PRECONDITION,
  tee_exhausted: RESOURCE_EXHAUSTED,
  device_unavailable: FAILED_PRECONDITION,
  gpu_busy: RESOURCE_EXHAUSTED,
  memory_exhausted: RESOURCE_EXHAUSTED,
  disk_full: RESOURCE_EXHAUSTED,
  disk_locked: FAILED_PRECONDITION,
  image_invalid: FAILED_PRECONDITION,
  resources_exhausted: RESOURCE_EXHAUSTED,
  qemu_option_invalid: FAILED_PRECONDITION,
  state_dir_unusable: FAILED_PRECONDITION,
  boot_timeout: DEADLINE_EXCEEDED,
  guest_panic: FAILED_PRECONDITION,
  computation_failed: FAILED_PRECONDITION,
  qemu_crashed: FAILED_PRECONDITION,
  qemu_killed: RESOURCE_EXHAUSTED,
  qemu_unresponsive: RESOURCE_EXHAUSTED,
  qemu_vanished: FAILED_PRECONDITION,
  host_shutdown: FAILED_PRECONDITION,
  host_lost: FAILED_PRECONDITION,
  worker_crashed: FAILED_PRECONDITION,
  poisoned: FAILED_PRECONDITION,
  spec_invalid: INVALID_ARGUMENT,
  secret_unreadable: FAILED_PRECONDITION,
  queue_timeout: DEADLINE_EXCEEDED,
  internal: INTERNAL,
} as const satisfies Record<CauseCode, status>;

/** A status travels in one HTTP/2 header block, of which clients take some kilobytes. */
const TEXT_MAX_CHARS = 2_000;

/** A call that ends with a status of its own choice, because of what became of its VM. */
export class CallEnded extends Error {
  readonly status: status;
  readonly facts: AnswerFacts;

  constructor(code: status, text: string, facts: AnswerFacts) {
    super(text);
    this.name = "CallEnded";
    this.status = code;
    this.facts = facts;
  }
}

/** How a call ends that threw `error`. Of what nobody foresaw only the request id is told; the rest is in the log. */
export function toStatus(error: unknown, requestId: string): StatusObject {
  if (error instanceof CallEnded) {
    return statusOf(error.status, error.message, { ...error.facts, requestId });
  }
  const { code, message } = toDroverError(error);
  const grpcCode = ERROR_STATUSES[code];
  const text =
    grpcCode === INTERNAL
      ? `something went wrong on this server; its log says more under request id ${requestId}`
      : message;
  return statusOf(grpcCode, text, { code, requestId });
}

type SentStatus = Parameters<ServerInterceptingCallInterface["sendStatus"]>[0];

/** What grpc-js calls INTERNAL though it is the caller's doing, and better words for it. */
const CALLERS_FAULTS: readonly (readonly [RegExp, string])[] = [
  [/^Error deserializing request/, "the message is no protobuf of this method's type"],
  [/^Failed to decompress message/, "the message is not compressed as grpc-encoding says"],
  [/^Invalid grpc-timeout value/, "grpc-timeout is at most eight digits and a unit, for example 30S"],
];

/** A status as it leaves the server: of grpc-js's own ones none blames the server for the caller's bytes. */
export function ownStatus(ended: SentStatus, requestId: string): SentStatus {
  const { code, details = "", metadata } = ended;
  if (metadata instanceof Metadata || (code !== INTERNAL && code !== status.UNKNOWN)) return ended;
  const [, text] = CALLERS_FAULTS.find(([pattern]) => pattern.test(details)) ?? [];
  return toStatus(text === undefined ? new Error(details) : new DroverError("invalid_request", text), requestId);
}

/** The word that the audit has for such an end: the code of the error. */
export function outcomeOf(error: unknown): string {
  return error instanceof CallEnded ? (error.facts.code ?? "ended") : toDroverError(error).code;
}

export function toMetadata(facts: AnswerFacts): Metadata {
  const metadata = new Metadata();
  for (const [fact, name] of Object.entries(ANSWER_METADATA)) {
    const value = facts[fact as keyof AnswerFacts];
    if (value !== undefined) metadata.set(name, oneLine(value));
  }
  return metadata;
}

function statusOf(code: status, text: string, facts: AnswerFacts): StatusObject {
  // grpc-js percent-encodes the text and throws where it is not well-formed: a cut must not leave half a character.
  const bounded = [...text]
    .slice(0, TEXT_MAX_CHARS)
    .join("")
    .replace(/\p{Cs}/gu, "\ufffd");
  return { code, details: bounded, metadata: toMetadata(facts) };
}

/** A metadata value is visible ASCII. */
function oneLine(value: string): string {
  return value.replace(/[^\x20-\x7e]/g, "?");
}

/** Whether an error is a mistake of the server, for its log. */
export function isUnforeseen(error: unknown): boolean {
  if (error instanceof CallEnded) return false;
  const known = toDroverError(error);
  return known instanceof DroverError && ERROR_STATUSES[known.code] === INTERNAL;
}
