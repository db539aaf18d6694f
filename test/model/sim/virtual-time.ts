import { syncBuiltinESMExports } from "node:module";
import timersPromises from "node:timers/promises";
import { EPOCH_MS, type World } from "./world.ts";

/** What stands in the place of Node's timers; only what drover and BullMQ do with one. */
class VirtualTimer {
  cancel: () => void = () => undefined;
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}

/**
 * From here on every clock and timer of this process, and its chance, is the world's, for whoever asks: also BullMQ.
 * Give it back by what this gives.
 */
export function takeOverTime(worldOf: () => World): () => void {
  const real = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    setInterval: globalThis.setInterval,
    clearInterval: globalThis.clearInterval,
    dateNow: Date.now,
    performanceNow: performance.now,
    random: Math.random,
    pause: timersPromises.setTimeout,
  };
  const start = (act: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): VirtualTimer => {
    const timer = new VirtualTimer();
    const world = worldOf();
    timer.cancel = world.after(world.current, Math.max(ms, 0), () => act(...args)).cancel;
    return timer;
  };
  const repeat = (act: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): VirtualTimer => {
    const timer = new VirtualTimer();
    const { current } = worldOf();
    const next = () => {
      timer.cancel = worldOf().after(current, Math.max(ms, 1), () => {
        next();
        act(...args);
      }).cancel;
    };
    next();
    return timer;
  };
  const stop = (timer: unknown): void => {
    if (timer instanceof VirtualTimer) timer.cancel();
  };
  const pause = (ms = 0, value?: unknown, { signal }: { signal?: AbortSignal } = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason);
      const abort = () => {
        timer.cancel();
        reject(signal?.reason);
      };
      const timer = start(() => {
        signal?.removeEventListener("abort", abort);
        resolve(value);
      }, ms);
      signal?.addEventListener("abort", abort, { once: true });
    });
  Object.assign(globalThis, { setTimeout: start, clearTimeout: stop, setInterval: repeat, clearInterval: stop });
  Date.now = () => {
    const { nowMs, current } = worldOf();
    return Math.floor(EPOCH_MS + nowMs + current.clock.offsetMs);
  };
  performance.now = () => worldOf().nowMs;
  Math.random = () => worldOf().random();
  Object.assign(timersPromises, { setTimeout: pause });
  syncBuiltinESMExports();
  return () => {
    const { setTimeout, clearTimeout, setInterval, clearInterval } = real;
    Object.assign(globalThis, { setTimeout, clearTimeout, setInterval, clearInterval });
    Date.now = real.dateNow;
    performance.now = real.performanceNow;
    Math.random = real.random;
    Object.assign(timersPromises, { setTimeout: real.pause });
    syncBuiltinESMExports();
  };
}
