/** Works on several items at once and gives the results in the items' own order. Holds `atOnce` results at most. */
export async function* inOrder<T, R>(
  items: Iterable<T>,
  atOnce: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const running: Promise<R>[] = [];
  for (const item of items) {
    const started = work(item);
    // Awaited below, perhaps after an earlier one has failed: nobody may call it unhandled until then.
    started.catch(() => undefined);
    running.push(started);
    if (running.length < atOnce) continue;
    const first = running.shift();
    if (first !== undefined) yield await first;
  }
  for (const rest of running) yield await rest;
}
