import { LaunchFailure } from "../contract/causes.ts";
import type { VmEventType } from "../contract/vm-event.ts";
import { writeDurably } from "../qemu/durable-file.ts";
import type { Move } from "../queue/launch-moves.ts";
import type { LaunchStore } from "../queue/launch-store.ts";
import type { Launch } from "./launch.ts";
import type { StopRequest } from "./stop-request.ts";

/**
 * Moves the record of a launch. A removal mark found there stops the launch (rejects with the stop's reason); any other
 * refusal means that the launch is not ours any more and throws LaunchFailure `internal`.
 */
export async function moveVm<T extends VmEventType>(
  deps: { readonly launches: LaunchStore },
  { launch, stop }: { readonly launch: Launch; readonly stop: StopRequest },
  move: Move<T>,
): Promise<void> {
  const { vmId } = launch.identity;
  const outcome = await deps.launches.move(launch.identity, move);
  if (outcome === "done") return;
  if (outcome === "marked") {
    const mark = (await deps.launches.marked([vmId])).get(vmId);
    stop.ask(mark?.reason ?? "requested", { force: mark?.force ?? false });
    stop.signal.throwIfAborted();
  }
  throw new LaunchFailure("internal", `the record refused the move to '${move.to}': ${outcome}`);
}

/** Puts what is known of a launch on disk, so that whoever starts after a crash knows it too. */
export async function saveLaunch(launch: Launch, known: Partial<Launch["record"]>): Promise<void> {
  launch.record = { ...launch.record, ...known };
  await writeDurably(launch.paths.record, JSON.stringify(launch.record));
}
