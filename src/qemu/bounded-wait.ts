import { setTimeout as delay } from "node:timers/promises";

/** What {@link within} gives when the time was up first. */
export const TIME_UP: unique symbol = Symbol("time up");

/**
 * The value of `promise`, or {@link TIME_UP} after `timeoutMs`. Rejects as `promise` does, and with the signal's
 * reason when that aborts first. The promise itself goes on; its owner ends what stands behind it.
 */
export async function within<T>(
  promise: Promise<T>,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<T | typeof TIME_UP> {
  signal?.throwIfAborted();
  const settled = new AbortController();
  const abort = () => settled.abort();
  signal?.addEventListener("abort", abort, { once: true });
  const timeUp = delay(Math.max(0, timeoutMs), TIME_UP, { signal: settled.signal }).catch((error: unknown) => {
    if (signal?.aborted === true) throw signal.reason;
    if (settled.signal.aborted) return TIME_UP; // the race is decided; nobody reads this
    throw error;
  });
  try {
    return await Promise.race([promise, timeUp]);
  } finally {
    signal?.removeEventListener("abort", abort);
    settled.abort();
  }
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
