import type { Checker, History, Violation } from "../history.ts";
import { pick, runOf } from "../history.ts";
import { CLOCK_SLACK_MS, eventsByVm, groupBy, stateOf } from "../lives.ts";

/** I10: attempts are bounded and counted one by one, delays are kept, and one idempotency key is one VM. */
export const retriesAreBounded: Checker = (history) => [...keyProblems(history), ...attemptProblems(history)];

function keyProblems(history: History): Violation[] {
  if (runOf(history).dataLoss) return []; // the keys are among what was lost
  const told = pick(history, "submit").flatMap(({ type, vmId, value }) =>
    type === "ok" && vmId !== undefined ? [{ key: value.key, vmId }] : [],
  );
  const stored = pick(history, "record").flatMap(({ vmId, value }) =>
    vmId !== undefined && value.key !== undefined ? [{ key: value.key, vmId }] : [],
  );
  return [...groupBy([...told, ...stored], ({ key }) => key)].flatMap(([key, uses]) => {
    const ids = new Set(uses.map(({ vmId }) => vmId));
    return ids.size <= 1
      ? []
      : [{ invariant: "I10", message: `key ${key} has ${ids.size} VMs: ${[...ids].join(", ")}` }];
  });
}

/** Launches that use no attempt (a host's fault, a worker's stop) are bounded by the faults that there were. */
const FREE_LAUNCHES = 10;

function attemptProblems(history: History): Violation[] {
  const faults = pick(history, "fault").filter(({ type }) => type === "invoke").length;
  const violations: Violation[] = [];
  for (const [vmId, events] of eventsByVm(history)) {
    const problem = (message: string) => violations.push({ invariant: "I10", vmId, message });
    let used = 0;
    let earliestMs = 0;
    let launches = 0;
    for (const entry of events) {
      const { data, name } = entry.value;
      const state = stateOf(entry);
      if (state === "preparing") {
        launches += 1;
        if (entry.t + CLOCK_SLACK_MS < earliestMs)
          problem(`was launched ${Math.round(earliestMs - entry.t)} ms before its delay was over`);
      }
      if (name === "vm.queued" && data["reason"] === "retried_by_hand") used = 0;
      const delayMs = data["delayMs"];
      earliestMs = typeof delayMs === "number" ? entry.t + delayMs : state === "queued" ? 0 : earliestMs;
      const attempt = data["attempt"];
      if (typeof attempt !== "number") continue;
      const attempts = data["attempts"];
      if (attempt > used + 1) problem(`used attempt ${attempt} after ${used}`);
      if (name === "vm.retrying" && typeof attempts === "number" && attempt >= attempts)
        problem(`is retried after attempt ${attempt} of ${attempts}`);
      used = attempt;
    }
    const byHand = events.filter(({ value }) => value.data["reason"] === "retried_by_hand").length;
    const bound = (1 + byHand) * ATTEMPTS_MAX + FREE_LAUNCHES + faults;
    if (launches > bound) problem(`was launched ${launches} times`);
  }
  return violations;
}

/** Of the requests of a run. */
const ATTEMPTS_MAX = 5;
