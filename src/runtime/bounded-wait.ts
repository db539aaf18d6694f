import { setTimeout as delay } from "node:timers/promises";

/** What {@link within} gives when the time was up first. */
export const TIME_UP: unique symbol = Symbol("time up");

/** Longest timer that Node has; a longer one would fire at once. About 24.8 days. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/**
 * The value of `promise`, or {@link TIME_UP} after `timeoutMs` (24.8 days at most). Rejects as `promise` does, and
 * with the signal's reason when that aborts first. What stands behind the promise goes on; its owner ends it.
 */
export function within<T>(promise: Promise<T>, timeoutMs: number, signal?: AbortSignal): Promise<T | typeof TIME_UP> {
  return new Promise((resolve, reject) => {
    const settle = (report: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      report();
    };
    const abort = () => settle(() => reject(signal?.reason));
    const timer = setTimeout(() => settle(() => resolve(TIME_UP)), Math.min(Math.max(0, timeoutMs), TIMER_MAX_MS));
    promise.then(
      (value) => settle(() => resolve(value)),
      (error: unknown) => settle(() => reject(error)),
    );
    if (signal?.aborted === true) abort();
    else signal?.addEventListener("abort", abort, { once: true });
  });
}

/** Waits `ms`. Rejects with the signal's reason when that aborts. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
    throw signal?.aborted === true ? signal.reason : error;
  });
}

/**
 * Asks `probe` until it says yes, every `intervalMs`. False when `timeoutMs` is up.
 * Rejects as the probe does, and with the signal's reason.
 */
export async function waitUntil(
  probe: () => boolean | Promise<boolean>,
  wait: { readonly timeoutMs: number; readonly intervalMs: number; readonly signal?: AbortSignal },
): Promise<boolean> {
  const deadlineMs = performance.now() + wait.timeoutMs;
  for (;;) {
    if (await probe()) return true;
    const leftMs = deadlineMs - performance.now();
    if (leftMs <= 0) return false;
    await pause(Math.min(wait.intervalMs, leftMs), wait.signal);
  }
}
