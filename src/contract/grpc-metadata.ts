/** Metadata that a call of CreateVm may bring, for what Cocos's message has no field for. */
export const CALL_METADATA = {
  idempotencyKey: "idempotency-key",
  name: "drover-name",
  pool: "drover-pool",
  priority: "drover-priority",
  /** `name=value`, as often as wanted. */
  label: "drover-label",
} as const;

/** Metadata that an answer brings, ahead of it or behind it. */
export const ANSWER_METADATA = {
  vmId: "drover-vm-id",
  state: "drover-state",
  /** How many VMs of its pool stand before one that was queued. */
  queuePosition: "drover-queue-position",
  /** Code of what stands in the way of a VM that was queued. */
  warning: "drover-warning",
  /** `host:port` under which a VM is reached. */
  address: "drover-address",
  /** Code of an error. */
  code: "drover-code",
  /** Code of the cause for which a VM failed. */
  cause: "drover-cause",
  /** Name of the call in the server's log; with errors. */
  requestId: "drover-request-id",
} as const;

/** Facts beside an answer, by their short names. */
export type AnswerFacts = { readonly [name in keyof typeof ANSWER_METADATA]?: string };
