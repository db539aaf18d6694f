import { performance } from "node:perf_hooks";
import { pause } from "./bounded-wait.ts";

/** Time, as everything that waits or measures in the worker sees it; tests give one that they turn by hand. */
export interface Clock {
  /** Unix ms by this machine's clock, which may jump: only for people and for deadlines that Redis checks again. */
  nowMs(): number;
  /** Ms that never jump or go back; for leases, bounds and measurements. */
  monotonicMs(): number;
  /** Waits `ms`. Rejects with the signal's reason when that aborts. */
  pause(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  pause,
};
