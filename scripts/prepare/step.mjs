/**
 * Does one thing and says in one line what it was and how long it took. On a terminal the line stands there from the
 * beginning, so that nobody waits before an empty screen.
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @param {object} [options]
 * @param {(line: string) => void} [options.say]
 * @param {(result: T) => string | undefined} [options.outcome] undefined means: there is nothing to say
 * @returns {Promise<T>}
 */
export async function step(name, work, { say = console.log, outcome = () => "done" } = {}) {
  const start = performance.now();
  const label = name.padEnd(16);
  const live = say === console.log && process.stdout.isTTY;
  if (live) process.stdout.write(`${label} ...`);
  /** @type {T} */
  let result;
  try {
    result = await work();
  } finally {
    if (live) process.stdout.write("\r\u001b[K");
  }
  const text = outcome(result);
  if (text !== undefined) say(`${label} ${text} (${seconds(performance.now() - start)})`);
  return result;
}

/** @param {number} milliseconds */
export const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;
