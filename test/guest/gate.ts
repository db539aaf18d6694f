/** Lets a bounded number in at a time: booting is bound by the processor, and two cores carry few boots at once. */
export function gate(places: number) {
  const waiting: (() => void)[] = [];
  let free = places;

  return async function enter(): Promise<() => void> {
    if (free > 0) free -= 1;
    else await new Promise<void>((admit) => waiting.push(admit));
    return function leave() {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    };
  };
}
