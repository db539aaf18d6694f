import { z } from "zod";
import { bootId, isAlive, readStartTime } from "./process-identity.ts";

/** Names one process for ever, also on disk: with the boot that its pid and start time belong to. */
export const LastingIdentity = z.strictObject({
  pid: z.int().positive(),
  startTimeTicks: z.int().nonnegative(),
  bootId: z.string(),
});
export type LastingIdentity = z.infer<typeof LastingIdentity>;

/** The identity of a process that lives now; undefined when there is none, or only its unread exit code. */
export function identifyProcess(pid: number): LastingIdentity | undefined {
  const startTimeTicks = readStartTime(pid);
  if (startTimeTicks === undefined || !isAlive({ pid, startTimeTicks })) return undefined;
  return { pid, startTimeTicks, bootId: bootId() };
}

/** Whether this very process still lives. */
export function isSameProcess(known: LastingIdentity): boolean {
  return known.bootId === bootId() && isAlive(known);
}
