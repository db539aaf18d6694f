import { BatchAccepted, BatchList, BatchRetried, BatchView } from "../../contract/batch.ts";
import { type ApiCall, type ApiTarget, callApi, openStream } from "./api-request.ts";

/** Longer than an API takes any upload. */
const UPLOAD_TIMEOUT_MS = 20 * 60_000;
/** A large batch is cancelled and retried in many small steps. */
const CHANGE_TIMEOUT_MS = 2 * 60_000;

export interface BatchListFilter {
  readonly state?: string | undefined;
  readonly owner?: string | undefined;
  readonly limit?: number;
  readonly cursor?: string;
}

/** What the HTTP API does with batches, one function for each thing that can be asked. */
export class BatchClient {
  readonly #target: ApiTarget;

  constructor(target: ApiTarget) {
    this.#target = target;
  }

  submit(
    upload: NonNullable<ApiCall["upload"]>,
    { idempotencyKey, partial }: { readonly idempotencyKey: string; readonly partial: boolean },
  ): Promise<BatchAccepted> {
    const call = {
      method: "POST",
      path: "v1/batches",
      upload,
      headers: { "idempotency-key": idempotencyKey },
    } as const;
    const query = partial ? { partial } : {};
    return callApi({ ...this.#target, requestTimeoutMs: UPLOAD_TIMEOUT_MS }, { ...call, query }, BatchAccepted);
  }

  list(filter: BatchListFilter): Promise<BatchList> {
    return callApi(this.#target, { path: "v1/batches", query: { ...filter } }, BatchList);
  }

  get(id: string): Promise<BatchView> {
    return callApi(this.#target, { path: pathOf(id) }, BatchView);
  }

  cancel(id: string): Promise<BatchView> {
    const target = { ...this.#target, requestTimeoutMs: CHANGE_TIMEOUT_MS };
    return callApi(target, { method: "DELETE", path: pathOf(id) }, BatchView);
  }

  retryFailed(id: string, cause: string | undefined): Promise<BatchRetried> {
    const target = { ...this.#target, requestTimeoutMs: CHANGE_TIMEOUT_MS };
    return callApi(target, { method: "POST", path: `${pathOf(id)}/retry-failed`, query: { cause } }, BatchRetried);
  }

  /** NDJSON: a line for each item that has ended. */
  results(id: string): Promise<AsyncGenerator<Uint8Array>> {
    const headers = { accept: "application/x-ndjson, application/problem+json" };
    return openStream(this.#target, { path: `${pathOf(id)}/results`, headers });
  }
}

function pathOf(id: string): string {
  return `v1/batches/${encodeURIComponent(id)}`;
}
