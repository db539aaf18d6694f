import type { Config } from "./config-shape.ts";
import { isLoopbackHost, parseRedisUrl } from "./redis-url.ts";

const ALL_INTERFACES = new Set(["0.0.0.0", "*", "::"]);

/**
 * Address that the VMs' ports are bound to: as set, else loopback where Redis is on loopback, too, because then nobody
 * else is part of this. Undefined: all interfaces, written exactly as Cocos does.
 */
export function forwardBindOf({ forwardBind, redis }: Pick<Config, "forwardBind" | "redis">): string | undefined {
  const bind = forwardBind ?? (isOnLoopback(redis.url) ? "127.0.0.1" : undefined);
  return bind === undefined || ALL_INTERFACES.has(bind) ? undefined : bind;
}

function isOnLoopback(url: string): boolean {
  const host = parseRedisUrl(url)?.nodes[0]?.host;
  return host !== undefined && isLoopbackHost(host);
}
