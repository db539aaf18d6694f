import { DroverError } from "./errors.ts";
import type { VmState } from "./vm-state.ts";

/**
 * From which states a VM may come into a state. The scripts in Redis get these lists as arguments, so that the table
 * is written once; a move that is not in it is refused there, atomically, and is an error here.
 */
export const ALLOWED_FROM = {
  queued: ["preparing", "starting", "running", "ready", "stopping", "failed"],
  preparing: ["queued", "retrying"],
  starting: ["preparing", "starting"], // again in the same launch when QEMU could not bind its port and gets the next
  running: ["starting"],
  ready: ["running"],
  stopping: ["preparing", "starting", "running", "ready"],
  retrying: ["preparing", "starting", "running", "ready", "stopping"],
  completed: ["starting", "running", "ready", "stopping"],
  removed: ["queued", "retrying", "preparing", "starting", "running", "ready", "stopping"],
  expired: ["queued", "retrying", "preparing", "starting", "running", "ready", "stopping"],
  failed: ["queued", "retrying", "preparing", "starting", "running", "ready", "stopping"],
} as const satisfies Record<VmState, readonly VmState[]>;

export function mayMove(from: VmState, to: VmState): boolean {
  return (ALLOWED_FROM[to] as readonly VmState[]).includes(from);
}

/** Throws `illegal_transition` when `from` -> `to` is not in the table. */
export function assertMayMove(from: VmState, to: VmState): void {
  if (!mayMove(from, to)) {
    const allowed = ALLOWED_FROM[to].join(", ");
    throw new DroverError("illegal_transition", `a VM may not go from '${from}' to '${to}' (only from: ${allowed})`);
  }
}
