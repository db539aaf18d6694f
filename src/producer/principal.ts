import type { FastifyInstance, FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import { DroverError } from "../contract/errors.ts";
import { mayAct, type Role } from "../contract/role.ts";

/** On whose behalf a request acts. Every call into the store names the owner. */
export interface Principal {
  readonly owner: string;
  readonly role: Role;
  /** How it proved who it is. */
  readonly via: "local" | "token" | "session" | "certificate" | "anonymous";
  /** Public id of the token that was shown or logged in with. */
  readonly tokenId?: string;
}

/** Who uses the API on this very machine while nobody has to prove anything. */
export const LOCAL_OPERATOR: Principal = { owner: "local", role: "operator", via: "local" };

/** Whether somebody may see what belongs to an owner. To everybody else it does not exist. */
export function maySee({ owner, role }: Principal, whose: string): boolean {
  return role === "operator" || owner === whose;
}

/** Yields the principal of a request, or throws what the client gets instead of an answer. */
export type Identify = (request: FastifyRequest) => Principal | Promise<Principal>;

declare module "fastify" {
  interface FastifyRequest {
    readonly principal: Principal;
  }
}

const principals = new WeakMap<FastifyRequest, Principal>();

/** Who a request turned out to come from; undefined before that is known, and on a route that asks nobody. */
export function knownPrincipal(request: FastifyRequest): Principal | undefined {
  return principals.get(request);
}

/** Says who came in by a route that asks nobody, the login, or is known and was not let in. */
export function setPrincipal(request: FastifyRequest, principal: Principal): void {
  principals.set(request, principal);
}

/**
 * The one hook that every request passes, on every route that is and will be: it finds out who asks, and whether its
 * role is enough for the route's rule. A route that reads `principal` without having a rule throws.
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
      const { access = "public" } = request.routeOptions.config; // only what is no route has no rule
      if (access === "public") return;
      const principal = await identify(request);
      principals.set(request, principal);
      if (mayAct(principal.role, access)) return;
      throw new DroverError(
        "forbidden",
        `this needs the role ${access}, and you (${principal.owner}) are ${principal.role}; an operator gives roles with \`drover token add --role ${access}\``,
      );
    });
  },
  { name: "principal", dependencies: ["access-rules"] },
);
