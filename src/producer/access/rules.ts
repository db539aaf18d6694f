import type { FastifyInstance, RouteOptions } from "fastify";
import fp from "fastify-plugin";
import type { Role } from "../../contract/role.ts";

/** What a caller must be for a route; `public` asks nobody who they are. */
type AccessRule = Role | "public";

declare module "fastify" {
  interface FastifyContextConfig {
    readonly access?: AccessRule;
    /** What a change is called in the audit, for example `vm.submit`. */
    readonly audit?: string;
  }
}

/** Of the routes that packages bring along, by the beginning of their paths. */
const KITS: readonly { readonly path: RegExp; readonly access: AccessRule; readonly audit: string }[] = [
  { path: /^\/docs(\/|$)/, access: "viewer", audit: "docs" },
  { path: /^\/board(\/|$)/, access: "operator", audit: "board" },
];

const READS = ["GET", "HEAD", "OPTIONS"];

/** Whether requests of this method only look. */
export function onlyReads(method: string): boolean {
  return READS.includes(method);
}

/** Sees to it that no route can be without a rule, nor a change without a name. Register it before all routes. */
export const accessRules = fp(
  async (app: FastifyInstance) => {
    app.addHook("onRoute", (route) => {
      const kit = KITS.find(({ path }) => path.test(route.url));
      if (kit !== undefined) route.config = { ...route.config, access: kit.access, audit: kit.audit };
      assertRuled(route);
    });
  },
  { name: "access-rules" },
);

function assertRuled({ url, method, config }: RouteOptions): void {
  const methods = [method].flat();
  if (config?.access === undefined) throw new Error(`the route ${methods.join(",")} ${url} has no access rule`);
  if (config.audit === undefined && !methods.every(onlyReads))
    throw new Error(`the route ${methods.join(",")} ${url} changes something and has no name in the audit`);
}
