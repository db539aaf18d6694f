import { VM_STATES, type VmState } from "../../../src/contract/vm-state.ts";
import { mayMove } from "../../../src/contract/vm-transition.ts";
import type { Checker, Entry, History, Violation } from "../history.ts";
import { pick, runOf } from "../history.ts";
import { eventsByVm, groupBy, stateOf, streamOf } from "../lives.ts";

/**
 * I6: the events of a VM are numbered 1..n, each move is a legal one, and who replays them has the record. A reader
 * that is cut and resumes gets every event once and in order.
 */
export const eventsTellEverything: Checker = (history) => [...vmProblems(history), ...readerProblems(history)];

function vmProblems(history: History): Violation[] {
  if (runOf(history).dataLoss) return []; // a stream that was lost begins anew
  const records = new Map(pick(history, "record").map((entry) => [entry.vmId ?? "", entry.value]));
  const events = eventsByVm(history);
  return [...new Set([...records.keys(), ...events.keys()])].flatMap((vmId) => {
    const mine = events.get(vmId) ?? [];
    const record = records.get(vmId);
    const problem = (message: string): Violation => ({ invariant: "I6", vmId, message });
    const problems: Violation[] = [];
    const numbers = mine.map(({ value }) => value.seq);
    if (numbers.some((number, index) => number !== index + 1))
      problems.push(problem(`its events are numbered ${numbers.join()}`));
    const { state, epoch, illegal } = replay(mine);
    problems.push(...illegal.map(problem));
    if (record === undefined) return [...problems, problem("has events and no record")];
    if (record.seq !== numbers.length)
      problems.push(problem(`its record counts ${record.seq} events, there are ${numbers.length}`));
    if (state !== undefined && record.state !== state)
      problems.push(problem(`its record says ${record.state}, its events ${state}`));
    if (record.epoch !== epoch) problems.push(problem(`its record says launch ${record.epoch}, its events ${epoch}`));
    return problems;
  });
}

function replay(events: readonly Entry<"event">[]): { state: VmState | undefined; epoch: number; illegal: string[] } {
  let state: VmState | undefined;
  let epoch = 0;
  /** A reassertion does not say the state that the host has the VM in; only what a live VM may do next is legal then. */
  let reasserted = false;
  const illegal: string[] = [];
  for (const entry of events) {
    const { name, seq, data } = entry.value;
    const told = data["epoch"];
    if (typeof told === "number" && told < epoch && name !== "vm.copy_stopped")
      illegal.push(`event ${seq} (${name}) is of launch ${told} after launch ${epoch}`);
    if (typeof told === "number") epoch = Math.max(epoch, told);
    if (name === "vm.reasserted") {
      reasserted = true;
      const asserted = VM_STATES.find((known) => known === data["state"]);
      state = asserted ?? "running";
    }
    const next = stateOf(entry);
    if (next === undefined) continue;
    const from = reasserted ? LIVE_STATES : [state];
    if (!from.some((before) => (before === undefined ? next === "queued" : mayMove(before, next))))
      illegal.push(`event ${seq} goes from ${state ?? "nothing"} to ${next}`);
    state = next;
    reasserted = false;
  }
  return { state: reasserted ? undefined : state, epoch, illegal };
}

const LIVE_STATES = ["preparing", "starting", "running", "ready", "stopping"] as const;

function readerProblems(history: History): Violation[] {
  if (runOf(history).dataLoss) return [];
  const stream = streamOf(history).map(({ value }) => value.id);
  const place = new Map(stream.map((id, index) => [id, index]));
  return [...groupBy(pick(history, "read"), ({ value }) => value.reader)].flatMap(([reader, entries]) => {
    const problem = (message: string): Violation => ({ invariant: "I6", message: `reader ${reader}: ${message}` });
    const problems = entries.filter(({ value }) => value.gap === true).map(() => problem("was told of a gap"));
    const ids = entries.flatMap(({ value }) => (value.event === undefined ? [] : [value.event.id]));
    let expected = place.get(ids[0] ?? "");
    for (const id of ids) {
      const at = place.get(id);
      if (at === undefined) problems.push(problem(`got ${id}, which the stream does not have`));
      else if (expected !== undefined && at < expected) problems.push(problem(`got ${id} again`));
      else if (expected !== undefined && at > expected)
        problems.push(problem(`got ${id} and not the ${at - expected} events before it (${stream[expected]})`));
      if (at !== undefined) expected = at + 1;
    }
    if (expected !== undefined && expected < stream.length)
      problems.push(problem(`never got the last ${stream.length - expected} events`));
    return problems;
  });
}
