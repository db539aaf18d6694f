import type { Checker } from "../history.ts";
import { pick, runOf } from "../history.ts";

/** SIGTERM ends a worker within this. */
const STOP_MS = 10_000;

/** I11: after the last fault everything that can end ends within the bound; and a worker that is asked to go goes. */
export const settlesInTime: Checker = (history) => {
  const { settleMs } = runOf(history);
  const settled = pick(history, "settled");
  if (settled.length === 0) return [{ invariant: "I11", message: "the run never came to rest" }];
  return [
    ...settled.flatMap(({ value }) =>
      value.open.map((text) => ({
        invariant: "I11",
        message: `still open ${Math.round(value.tookMs)} ms after the last fault: ${text}`,
      })),
    ),
    ...settled
      .filter(({ value }) => value.tookMs > settleMs)
      .map(({ value }) => ({
        invariant: "I11",
        message: `it took ${Math.round(value.tookMs)} ms to come to rest, not ${settleMs}`,
      })),
    ...pick(history, "worker")
      .filter(({ value }) => value.by === "SIGTERM" && (value.tookMs ?? 0) > STOP_MS)
      .map(({ value }) => ({
        invariant: "I11",
        message: `the worker of ${value.host} took ${Math.round(value.tookMs ?? 0)} ms to end after SIGTERM`,
      })),
  ];
};
