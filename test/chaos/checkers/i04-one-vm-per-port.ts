import type { Checker, Entry, Violation } from "../history.ts";
import { runOf } from "../history.ts";
import { isFinalState, livesOf, stateOf, streamOf } from "../lives.ts";

/** I4: a port is held by at most one VM, lies in its host's range, and is the one that the VM's QEMU listens on. */
export const oneVmPerPort: Checker = (history) => [...heldTwice(history), ...saidAndDone(history)];

function heldTwice(history: Parameters<Checker>[0]): Violation[] {
  const { hosts, dataLoss } = runOf(history);
  const holders = new Map<number, string>();
  const ports = new Map<string, number>();
  const violations: Violation[] = [];
  const give = (vmId: string) => {
    const port = ports.get(vmId);
    if (port !== undefined && holders.get(port) === vmId) holders.delete(port);
    ports.delete(vmId);
  };
  for (const entry of streamOf(history)) {
    const { vmId = "" } = entry;
    const state = stateOf(entry);
    if (state === "queued" || state === "retrying" || isFinalState(state)) give(vmId);
    const port = entry.value.data["port"];
    if (typeof port !== "number" || !TAKES.has(entry.value.name)) continue;
    give(vmId);
    const holder = holders.get(port);
    if (holder !== undefined && holder !== vmId && !dataLoss)
      violations.push({ invariant: "I4", vmId, message: `got port ${port} while ${holder} held it` });
    holders.set(port, vmId);
    ports.set(vmId, port);
    const range = hosts[hostOf(entry)];
    if (range !== undefined && (port < range.first || port > range.last))
      violations.push({ invariant: "I4", vmId, message: `got port ${port}, outside of ${range.first}-${range.last}` });
  }
  return violations;
}

const TAKES = new Set(["vm.preparing", "vm.port_changed", "vm.reasserted"]);

function saidAndDone(history: Parameters<Checker>[0]): Violation[] {
  const bound = new Map<string, number>();
  for (const { vmId, epoch, host, port } of livesOf(history))
    if (port !== undefined) bound.set(`${vmId} ${epoch} ${host}`, port);
  return streamOf(history).flatMap((entry) => {
    if (entry.value.name !== "vm.running") return [];
    const { port, epoch } = entry.value.data;
    const real = bound.get(`${entry.vmId} ${epoch} ${hostOf(entry)}`);
    if (real === undefined || real === port) return [];
    const message = `was said to run on port ${port}, and its QEMU listens on ${real}`;
    return [{ invariant: "I4", ...(entry.vmId === undefined ? {} : { vmId: entry.vmId }), message }];
  });
}

function hostOf({ value }: Entry<"event">): string {
  return String(value.data["host"]);
}
