import type { FastifyInstance, FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import type { Role } from "../contract/role.ts";

/** On whose behalf a request acts. Every call into the store names the owner. */
export interface Principal {
  readonly owner: string;
  readonly role: Role;
  /** How it proved who it is. */
  readonly via: "local" | "token" | "session" | "certificate" | "anonymous";
  /** Public id of the token that was shown or logged in with. */
  readonly tokenId?: string;
}

/** Who everybody is until access control exists. */
export const LOCAL_OPERATOR: Principal = { owner: "local", role: "operator", via: "local" };

/** Yields the principal of a request, or throws what the client gets instead of an answer. */
export type Identify = (request: FastifyRequest) => Principal | Promise<Principal>;

declare module "fastify" {
  interface FastifyRequest {
    readonly principal: Principal;
  }
}

const principals = new WeakMap<FastifyRequest, Principal>();

/**
 * The one hook that every request passes, on every route that is and will be. A request that reads `principal` without
 * having passed it throws.
 */
export const principalHook = fp<{ readonly identify: Identify }>(
  async (app: FastifyInstance, { identify }) => {
    app.decorateRequest("principal", {
      getter(this: FastifyRequest): Principal {
        const principal = principals.get(this);
        if (principal === undefined)
          throw new Error(`a handler of ${this.method} ${this.routeOptions.url} ran without a principal`);
        return principal;
      },
    });
    app.addHook("onRequest", async (request) => {
      principals.set(request, await identify(request));
    });
  },
  { name: "principal" },
);
