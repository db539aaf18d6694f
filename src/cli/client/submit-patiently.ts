import { setTimeout as delay } from "node:timers/promises";
import type { VmRequest } from "../../contract/vm-request.ts";
import type { VmAccepted } from "../../contract/vm-view.ts";
import { CliError } from "../cli-error.ts";
import type { ApiClient } from "./api-client.ts";
import { RetryAfter } from "./problem-error.ts";

const TRIES_MAX = 5;
const PAUSE_FIRST_MS = 500;
const PAUSE_MAX_MS = 10_000;
/** An API that asks for more is not waited for in full. */
const ASKED_MAX_MS = 60_000;

/** What another try may mend: a full or briefly headless API, an answer lost on the way. */
const PASSING = new Set(["too_many_requests", "redis_unavailable", "shutting_down", "connection_failed", "no_answer"]);

export interface PatientSubmit {
  readonly request: VmRequest;
  readonly idempotencyKey: string;
  /** Told before each further try. */
  readonly onRetry: (why: CliError) => void;
}

/** Submits one request, several times if need be: the idempotency key makes that safe. */
export function submitPatiently(
  api: ApiClient,
  { request, idempotencyKey, onRetry }: PatientSubmit,
): Promise<VmAccepted> {
  return patiently(api, () => api.submit(request, idempotencyKey), onRetry);
}

/** Does what may be done twice, several times if need be. */
export async function patiently<T>(
  { target }: Pick<ApiClient, "target">,
  work: () => Promise<T>,
  onRetry: (why: CliError) => void,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof CliError) || !PASSING.has(error.code) || attempt === TRIES_MAX) throw error;
      onRetry(error);
      const asked = error.cause instanceof RetryAfter ? error.cause.seconds : undefined;
      const pauseMs =
        asked === undefined
          ? Math.min(PAUSE_FIRST_MS * 2 ** (attempt - 1), PAUSE_MAX_MS)
          : Math.min(asked * 1000, ASKED_MAX_MS);
      await delay(pauseMs, undefined, { signal: target.signal }).catch(() => {
        throw target.signal.reason;
      });
    }
  }
}
