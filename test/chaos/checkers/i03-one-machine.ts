import type { Checker, Violation } from "../history.ts";
import { groupBy, livesOf, overlapsOf } from "../lives.ts";

/**
 * I3: a VM has at most one live QEMU at any instant, and its launches are numbered upwards. The one exception, a host
 * that was cut off with its worker alive under rerun + keep, is allowed as long as it stays bounded.
 */
export const oneMachine: Checker = (history) => {
  const overlaps = overlapsOf(history)
    .filter(({ allowed }) => !allowed)
    .map(({ older, newer, overlapMs }): Violation => {
      const where = `launch ${older.epoch} on ${older.host} (pid ${older.pid}) and launch ${newer.epoch} on ${newer.host} (pid ${newer.pid})`;
      const span = `${Math.round(older.fromMs)}..${Math.round(older.untilMs)} and from ${Math.round(newer.fromMs)}`;
      return {
        invariant: "I3",
        vmId: older.vmId,
        message: `${where} lived at once for ${Math.round(overlapMs)} ms: ${span}`,
      };
    });
  const backwards = [...groupBy(livesOf(history), ({ vmId }) => vmId)].flatMap(([vmId, lives]) =>
    lives.slice(1).flatMap((life, index): Violation[] => {
      const before = lives[index];
      // Within one launch QEMU may be started again on the next port.
      if (before === undefined || life.epoch > before.epoch) return [];
      if (life.epoch === before.epoch && life.host === before.host) return [];
      const message = `launch ${life.epoch} on ${life.host} came after launch ${before.epoch} on ${before.host}`;
      return [{ invariant: "I3", vmId, message }];
    }),
  );
  return [...overlaps, ...backwards];
};
