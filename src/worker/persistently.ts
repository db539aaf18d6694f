import type { Logger } from "pino";
import type { Clock } from "../runtime/clock.ts";

const FIRST_PAUSE_MS = 500;
const PAUSE_MAX_MS = 15_000;

/**
 * Does a step of an end until it succeeds: an end must not be given up because a disk is full or a process hangs in
 * the kernel for a while. Until then the VM keeps its slot, its port and its local record. Rejects with the step's
 * error only when `giveUp` is aborted: then the next start of the worker goes on from the disk.
 */
export async function persistently<T>(
  {
    what,
    vmId,
    clock,
    logger,
    giveUp,
  }: { what: string; vmId: string; clock: Clock; logger: Logger; giveUp: AbortSignal },
  step: () => Promise<T>,
): Promise<T> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, PAUSE_MAX_MS)) {
    try {
      return await step();
    } catch (error) {
      if (giveUp.aborted) throw error;
      logger.error({ err: error, vmId, pauseMs }, `${what} failed; it is tried again`);
      await clock.pause(pauseMs, giveUp).catch(() => undefined); // given up: the last try follows
    }
  }
}
