import type { FastifyRequest } from "fastify";
import { DroverError, type ErrorCode } from "../../contract/errors.ts";
import type { Identify, Principal } from "../principal.ts";
import { RateExceeded } from "./rate-limit.ts";

export interface RecheckOptions {
  readonly request: FastifyRequest;
  readonly identify: Identify;
  readonly everyMs: number;
  /** Called once when the caller may no longer read what it reads. */
  readonly cut: () => void;
}

/** What the caller of before is answered when it is nobody any more. */
const OVER: readonly ErrorCode[] = ["unauthenticated", "too_many_requests"];

/**
 * Looks again and again whether the reader of an open answer is still who it was: a token that is removed or expires
 * ends its streams, too. While nobody can tell, since Redis is away, the stream stays. One that asks too much is told
 * apart from one whose address has shown too much that does not fit: the first is known.
 */
export function recheck({ request, identify, everyMs, cut }: RecheckOptions): Disposable {
  const { owner, role } = request.principal;
  const look = async () => {
    try {
      const now = await known(identify, request);
      if (now.owner !== owner || now.role !== role) cut();
    } catch (error) {
      if (error instanceof DroverError && OVER.includes(error.code)) cut();
    }
  };
  const timer = setInterval(() => void look(), everyMs).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

async function known(identify: Identify, request: FastifyRequest): Promise<Principal> {
  try {
    return await identify(request);
  } catch (error) {
    if (error instanceof RateExceeded) return error.principal;
    throw error;
  }
}
