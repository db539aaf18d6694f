import type { FastifyRequest } from "fastify";
import { DroverError } from "../../contract/errors.ts";
import type { Identify } from "../principal.ts";

export interface RecheckOptions {
  readonly request: FastifyRequest;
  readonly identify: Identify;
  readonly everyMs: number;
  /** Called once when the caller may no longer read what it reads. */
  readonly cut: () => void;
}

/**
 * Looks again and again whether the reader of an open answer is still who it was: a token that is removed or expires
 * ends its streams, too. While nobody can tell, since Redis is away, the stream stays.
 */
export function recheck({ request, identify, everyMs, cut }: RecheckOptions): Disposable {
  const { owner, role } = request.principal;
  const look = async () => {
    try {
      const now = await identify(request);
      if (now.owner !== owner || now.role !== role) cut();
    } catch (error) {
      if (error instanceof DroverError && error.code === "unauthenticated") cut();
    }
  };
  const timer = setInterval(() => void look(), everyMs).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
