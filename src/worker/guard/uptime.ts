import { uptime } from "node:os";

/**
 * Ms since the machine was started, as /proc/uptime has them: the same for all processes of a boot, never set by
 * anybody, and counted on while the machine is suspended, because others' patience with this host does not rest then.
 * To 10 ms.
 */
export function uptimeMs(): number {
  return Math.round(uptime() * 1_000);
}
