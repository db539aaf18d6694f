export interface LinkedSignal {
  readonly signal: AbortSignal;
  /** Lets go of the sources; without it the signal lives as long as they do. */
  release(): void;
}

/**
 * A signal that aborts with the first of several. In place of AbortSignal.any, whose result fetch holds so weakly that
 * the garbage collector takes it while a stream is being read: Ctrl-C is then never heard (seen with Node 20.20; see
 * https://github.com/nodejs/undici/issues/3644).
 */
export function linkSignals(sources: readonly AbortSignal[]): LinkedSignal {
  const controller = new AbortController();
  const links = sources.map((source) => ({ source, onAbort: () => controller.abort(source.reason) }));
  for (const { source, onAbort } of links) {
    if (source.aborted) onAbort();
    else source.addEventListener("abort", onAbort, { once: true });
  }
  return {
    signal: controller.signal,
    release: () => {
      for (const { source, onAbort } of links) source.removeEventListener("abort", onAbort);
    },
  };
}
