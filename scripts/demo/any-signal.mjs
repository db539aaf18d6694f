/**
 * Aborts with the first of several, for the whole run. In place of AbortSignal.any, whose result the garbage collector may
 * take while fetch still reads a stream (https://github.com/nodejs/undici/issues/3644).
 * @param {...AbortSignal} sources
 */
export function anySignal(...sources) {
  const controller = new AbortController();
  for (const source of sources) {
    if (source.aborted) controller.abort(source.reason);
    else source.addEventListener("abort", () => controller.abort(source.reason), { once: true });
  }
  return controller.signal;
}
