import { setTimeout as delay } from "node:timers/promises";

/** Waits for a condition with a bound: the first truthy value, or an error that says what was waited for. */
export async function waitFor<T>(
  probe: () => T | Promise<T>,
  {
    timeoutMs = 10_000,
    intervalMs = 20,
    what = "the condition",
    fatal = () => false,
  }: {
    timeoutMs?: number;
    intervalMs?: number;
    what?: string;
    /** Errors after which waiting makes no sense. */
    fatal?: (error: unknown) => boolean;
  } = {},
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
      lastError = undefined;
    } catch (error) {
      if (fatal(error)) throw error;
      lastError = error;
    }
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms for ${what}`, { cause: lastError });
    await delay(intervalMs);
  }
}
