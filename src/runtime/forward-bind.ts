import { isIP } from "node:net";
import type { Config } from "./config-shape.ts";

const ALL_INTERFACES = new Set(["0.0.0.0", "*", "::"]);

/**
 * Address that the VMs' ports are bound to: as set, else loopback where Redis is on loopback, too, because then nobody
 * else is part of this. Undefined: all interfaces, written exactly as Cocos does.
 */
export function forwardBindOf({ forwardBind, redis }: Pick<Config, "forwardBind" | "redis">): string | undefined {
  const bind = forwardBind ?? (isLoopbackUrl(redis.url) ? "127.0.0.1" : undefined);
  return bind === undefined || ALL_INTERFACES.has(bind) ? undefined : bind;
}

function isLoopbackUrl(url: string): boolean {
  const host = /^[a-z+]+:\/\/(?:[^@/]*@)?(\[[^\]]+\]|[^:/,]+)/.exec(url)?.[1]?.replace(/^\[|\]$/g, "") ?? "";
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
