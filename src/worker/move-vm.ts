import { setTimeout as delay } from "node:timers/promises";
import { LaunchFailure } from "../contract/causes.ts";
import type { VmEventType } from "../contract/vm-event.ts";
import { writeDurably } from "../qemu/durable-file.ts";
import type { Move, MoveOutcome } from "../queue/launch-moves.ts";
import type { LaunchStore } from "../queue/launch-store.ts";
import type { Launch } from "./launch.ts";
import type { StopRequest } from "./stop-request.ts";

const REFUSED_PAUSE_MS = 500;

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
  const outcome = await moveWhenPossible(deps.launches, { launch, stop }, move);
  if (outcome === "done") return;
  if (outcome === "marked") {
    const mark = (await deps.launches.marked([vmId])).get(vmId);
    stop.ask(mark?.reason ?? "requested", { force: mark?.force ?? false });
    stop.signal.throwIfAborted();
  }
  throw new LaunchFailure("internal", `the record refused the move to '${move.to}': ${outcome}`);
}

/** A Redis that refuses a write (OOM, MISCONF, READONLY, LOADING) is no evidence against a VM: it is asked again. */
async function moveWhenPossible<T extends VmEventType>(
  launches: LaunchStore,
  { launch, stop }: { readonly launch: Launch; readonly stop: StopRequest },
  move: Move<T>,
): Promise<MoveOutcome> {
  for (;;) {
    try {
      return await launches.move(launch.identity, move);
    } catch (error) {
      const isRefusal = error instanceof Error && error.name === "ReplyError";
      if (!isRefusal || stop.signal.aborted) throw error;
      await delay(REFUSED_PAUSE_MS, undefined, { signal: stop.signal }).catch(() => undefined); // stopped: the last try follows
    }
  }
}

/** Puts what is known of a launch on disk, so that whoever starts after a crash knows it too. */
export async function saveLaunch(launch: Launch, known: Partial<Launch["record"]>): Promise<void> {
  launch.record = { ...launch.record, ...known };
  await writeDurably(launch.paths.record, JSON.stringify(launch.record));
}
