/** @import {Problem} from "../contract/vm-view.ts" */

/** An answer that says no, or no answer at all. */
export class Refusal extends Error {
  /** @param {{ status: number, code: string, detail: string, problems?: Problem["problems"] | undefined, retryAfterS?: number }} facts */
  constructor({ status, code, detail, problems = [], retryAfterS = 0 }) {
    super(detail);
    this.name = "Refusal";
    /** HTTP's; 0 when nobody answered. */
    this.status = status;
    this.code = code;
    /** @type {NonNullable<Problem["problems"]>} */
    this.problems = problems;
    this.retryAfterS = retryAfterS;
  }

  /** Whether it says nothing of what was asked, and the same question may soon be answered. */
  get passes() {
    return this.status === 0 || this.status === 429 || this.status === 503;
  }
}

/**
 * Reads a problem document. Whatever else stands in the body is not shown: it may come from a proxy.
 * @param {Response} response
 * @returns {Promise<Refusal>}
 */
export async function refusalOf(response) {
  const { status } = response;
  const retryAfterS = Number(response.headers.get("retry-after") ?? 0) || 0;
  /** @type {unknown} */
  const body = await response.json().catch(() => undefined);
  if (!isProblem(body)) return new Refusal({ status, code: "", detail: `the server answered ${status}`, retryAfterS });
  return new Refusal({ status, code: body.code, detail: body.detail, problems: body.problems, retryAfterS });
}

/**
 * @param {unknown} body
 * @returns {body is Problem}
 */
function isProblem(body) {
  return typeof body === "object" && body !== null && "code" in body && "detail" in body;
}
