/**
 * The codes that reach a client. They are public: never renamed, never reused.
 * `status` is the HTTP status; gRPC has its own total map. `title` is the fixed short text of RFC 9457.
 */
export const ERROR_CATALOGUE = {
  invalid_request: { status: 400, title: "The request does not fit its schema" },
  malformed_body: { status: 400, title: "The body is not valid JSON" },
  unauthenticated: { status: 401, title: "Who you are is not known" },
  forbidden: { status: 403, title: "Your role does not allow this" },
  csrf_failed: { status: 403, title: "The request does not come from drover's own page" },
  token_not_found: { status: 404, title: "No token has this id" },
  host_not_allowed: { status: 421, title: "The Host header names somebody else" },
  origin_not_allowed: { status: 403, title: "A web page of another origin may not call this API" },
  not_found: { status: 404, title: "No such page" },
  vm_not_found: { status: 404, title: "No VM has this id" },
  host_not_found: { status: 404, title: "No host has this id" },
  batch_not_found: { status: 404, title: "No batch has this id" },
  failure_group_not_found: { status: 404, title: "No failed VM belongs to this group" },
  method_not_allowed: { status: 405, title: "This method is not offered here" },
  not_acceptable: { status: 406, title: "No representation fits the Accept header" },
  idempotency_conflict: { status: 409, title: "The idempotency key was used with another request" },
  not_retryable: { status: 409, title: "The VM is not in a state that can be retried" },
  secrets_gone: { status: 409, title: "The secrets of this VM are already deleted" },
  host_alive: { status: 409, title: "The host lives, so it cannot be forgotten" },
  host_state: { status: 409, title: "The host is not in a state for this" },
  batch_ended: { status: 409, title: "The batch has ended, so this cannot be done to it any more" },
  no_worker_here: { status: 409, title: "The machine that was called has no worker" },
  policy_unavailable: { status: 409, title: "There is no attestation policy for this VM" },
  vm_gone: { status: 410, title: "The VM ended long ago and its record was deleted" },
  request_timeout: { status: 408, title: "The request did not arrive in time" },
  body_too_large: { status: 413, title: "The body is too large" },
  uri_too_long: { status: 414, title: "The address is too long" },
  unsupported_media_type: { status: 415, title: "The body is of a media type that this route does not read" },
  batch_invalid: { status: 422, title: "Lines of the batch do not fit their schema" },
  secrets_key_missing: { status: 422, title: "The request holds secrets and this server has no key to seal them" },
  kbs_params_with_disk: { status: 422, title: "KBS parameters have no effect on a VM that boots from its disk" },
  too_many_requests: { status: 429, title: "Too many requests" },
  headers_too_large: { status: 431, title: "The header fields are too large" },
  internal_error: { status: 500, title: "Something went wrong on this server" },
  illegal_transition: { status: 500, title: "A VM was asked to make a move that its life does not know" },
  config_invalid: { status: 500, title: "The configuration is not valid" },
  redis_unavailable: { status: 503, title: "The queue cannot be reached" },
  shutting_down: { status: 503, title: "This server is shutting down" },
  wait_timeout: { status: 504, title: "The VM did not get there in time" },
} as const satisfies Record<string, { status: number; title: string }>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

/** An error with a public code. `message` says what is wrong with which value, and the way out. */
export class DroverError extends Error {
  readonly code: ErrorCode;
  /** One entry for each field at fault, so that a client sees all of them at once. */
  readonly problems: readonly FieldProblem[];

  constructor(code: ErrorCode, message: string, options: ErrorOptions & { problems?: readonly FieldProblem[] } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "DroverError";
    this.code = code;
    this.problems = options.problems ?? [];
  }
}

export interface FieldProblem {
  /** Path of the field, for example `labels.team`, or the name of an environment variable. */
  readonly field: string;
  readonly message: string;
  /** Of a batch: the line of NDJSON, or the place in the JSON list, from 1. */
  readonly line?: number | undefined;
}
