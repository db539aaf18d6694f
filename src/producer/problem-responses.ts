import { ERROR_CATALOGUE, type ErrorCode } from "../contract/errors.ts";
import { Problem } from "../contract/vm-view.ts";

interface ProblemResponse {
  readonly description: string;
  readonly content: { readonly "application/problem+json": { readonly schema: typeof Problem } };
}

/** What any route may answer: the checks before it, and what can go wrong on the server. */
const EVERYWHERE = [
  "unauthenticated",
  "forbidden",
  "too_many_requests",
  "origin_not_allowed",
  "host_not_allowed",
  "internal_error",
  "shutting_down",
] as const satisfies readonly ErrorCode[];

/** Responses of a route for the schema: one for each status, with all codes that it may carry. */
export function problemResponses(...codes: readonly ErrorCode[]): Record<number, ProblemResponse> {
  const responses: Record<number, ProblemResponse> = {};
  for (const code of new Set<ErrorCode>([...codes, ...EVERYWHERE])) {
    const { status, title } = ERROR_CATALOGUE[code];
    const known = responses[status]?.description;
    responses[status] = {
      description: `${known === undefined ? "" : `${known}\n\n`}\`${code}\`: ${title}.`,
      content: { "application/problem+json": { schema: Problem } },
    };
  }
  return responses;
}
