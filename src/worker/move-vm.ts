import type { Logger } from "pino";
import { LaunchFailure } from "../contract/causes.ts";
import type { VmEventType } from "../contract/vm-event.ts";
import { fileFailure } from "../qemu/file-failure.ts";
import type { Move } from "../queue/launch-moves.ts";
import type { LiveState } from "../queue/ownership.ts";
import type { Clock } from "../runtime/clock.ts";
import { type Launch, toLive } from "./launch.ts";
import type { LaunchFiles } from "./launch-files.ts";
import type { StopRequest } from "./stop-request.ts";
import type { Stores } from "./stores.ts";

const REFUSED_PAUSE_MS = 500;
/** Redis may lose its data again while it is told; a record that no move fits refuses for ever. */
const TOLD_MAX = 5;

export interface MoveDeps extends Pick<Stores, "launches" | "ownership"> {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A launch and the way to stop it. */
export interface InHand {
  readonly launch: Launch;
  readonly stop: StopRequest;
}

/**
 * Moves the record of a launch. A removal mark found there stops the launch (rejects with the stop's reason). Where
 * Redis has forgotten the launch it is told again; where it knows of a newer one, this one is stopped as superseded.
 */
export async function moveVm<T extends VmEventType>(
  deps: MoveDeps,
  { launch, stop }: InHand,
  move: Move<T> & { readonly to: LiveState },
): Promise<void> {
  const { vmId } = launch.identity;
  for (let told = 0; ; told++) {
    const outcome = await whenPossible(deps, stop, () => deps.launches.move(launch.identity, move));
    if (outcome === "done") {
      launch.state = move.to;
      return;
    }
    if (outcome === "marked") {
      const mark = (await deps.launches.marked([vmId])).get(vmId);
      stop.ask(mark?.reason ?? "requested", { force: mark?.force ?? false });
      stop.signal.throwIfAborted();
    }
    if (told >= TOLD_MAX)
      throw new LaunchFailure("internal", `the record refused the move to '${move.to}': ${outcome}`);
    await whenPossible(deps, stop, () => tellAgain(deps, { launch, stop })); // or a reconcile has told it meanwhile
  }
}

/**
 * REASSERT of a live launch. Where Redis has positive evidence against it, the launch is stopped as superseded
 * (rejects with that reason).
 */
export async function tellAgain(
  { ownership, logger }: Pick<MoveDeps, "ownership" | "logger">,
  { launch, stop }: InHand,
): Promise<"ours" | "reasserted"> {
  const { vmId, epoch } = launch.identity;
  const outcome = await ownership.reassert(toLive(launch));
  if (outcome.kind === "ours") return "ours";
  if (outcome.kind === "reasserted") {
    logger.error({ vmId, epoch, lost: outcome.lost }, "Redis had lost what it knew of a live VM; it was told again");
    return "reasserted";
  }
  logger.warn({ vmId, epoch, currentEpoch: outcome.epoch, why: outcome.kind }, "this launch does not count any more");
  stop.ask("superseded", { force: true });
  throw stop.signal.reason;
}

/** What Redis answers to anybody while it cannot do its work; what else it rejects lies in the command or its keys. */
const REFUSAL =
  /^(OOM|MISCONF|READONLY|LOADING|BUSY|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|UNBLOCKED|NOAUTH|NOPERM|WRONGPASS)\b/;

export function isRefusal(error: unknown): boolean {
  return isReply(error) && REFUSAL.test(error.message);
}

function isReply(error: unknown): error is Error {
  return error instanceof Error && error.name === "ReplyError";
}

/**
 * A Redis that refuses is no evidence against a VM, and nothing that the VM has to pay for: it is asked again. Rejects
 * as it does once the launch is stopped.
 */
export async function whenPossible<T>(
  { clock }: Pick<MoveDeps, "clock">,
  stop: StopRequest,
  ask: () => Promise<T>,
): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isReply(error) || stop.signal.aborted) throw error;
      await clock.pause(REFUSED_PAUSE_MS, stop.signal).catch(() => undefined); // stopped: the last try follows
    }
  }
}

/** The write of a launch's record that is under way: of two at once the earlier could be the one that stays. */
const saving = new WeakMap<Launch, Promise<void>>();

/**
 * Puts what is known of a launch on disk, so that whoever starts after a crash knows it too. Throws LaunchFailure: a
 * disk that takes nothing is the host's fault, and not the VM's.
 */
export async function saveLaunch(
  { files }: { readonly files: LaunchFiles },
  launch: Launch,
  known: Partial<Launch["record"]>,
): Promise<void> {
  launch.record = { ...launch.record, ...known };
  const before = saving.get(launch) ?? Promise.resolve();
  const written = before.then(() => files.writeRecord(launch.paths, launch.record));
  saving.set(
    launch,
    written.catch(() => undefined), // its caller hears of it; the next write goes on all the same
  );
  try {
    await written;
  } catch (error) {
    throw fileFailure(error, "the launch could not be written to disk");
  }
}
