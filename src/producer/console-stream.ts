import type { VmRecord } from "../contract/vm-record.ts";
import { isFinal } from "../contract/vm-state.ts";
import type { ApiDeps } from "./api-deps.ts";
import { type ConsolePosition, consoleStep } from "./console-step.ts";
import type { OpenAnswer } from "./open-answer.ts";

type ConsoleDeps = Pick<ApiDeps, "store" | "liveConsole" | "gate" | "watch" | "limits">;

/** A quiet console is read this much less often than a moving one. */
const QUIET_FACTOR = 4;

export interface ConsoleReader {
  readonly record: VmRecord;
  /** How many of the last bytes to begin with. */
  readonly bytes: number;
}

/** What is kept of a VM's console right now: the live window, or the last lines when no launch is live. */
export async function readConsole(deps: ConsoleDeps, { record, bytes }: ConsoleReader): Promise<Buffer> {
  const { window, tail } = await readRedis(deps, { vmId: record.vmId, needsTail: false });
  return Buffer.concat(consoleStep(undefined, { epoch: record.epoch, window, tail, firstBytes: bytes }).pieces);
}

/**
 * Writes a VM's console to one reader until the VM has ended, over all its launches. It knows Redis only: the bounded
 * window that the worker keeps there while the VM lives, and the last lines that stay when a launch is over. What the
 * window lost before it was read is said in the text. Throws `ReaderGone` when the reader leaves.
 */
export async function followConsole(
  deps: ConsoleDeps,
  reader: ConsoleReader,
  answer: Pick<OpenAnswer, "write" | "over">,
): Promise<void> {
  const { vmId } = reader.record;
  using changes = deps.watch.open(vmId);
  let position: ConsolePosition | undefined;
  for (;;) {
    const look = await lookAt(deps, { vmId, position });
    let moved = false;
    if (look !== undefined) {
      const { record, window, tail } = look;
      const step = consoleStep(position, {
        epoch: record?.epoch ?? position?.epoch ?? 0,
        window,
        tail,
        firstBytes: reader.bytes,
      });
      position = step.position;
      moved = step.pieces.length > 0;
      for (const piece of step.pieces) await answer.write(piece);
      if (record === undefined || isFinal(record.state)) return;
    }
    const pauseMs = moved ? deps.limits.consolePollMs : deps.limits.consolePollMs * QUIET_FACTOR;
    if ((await changes.next(pauseMs, answer.over)) === "stopped") return;
  }
}

/** The record comes first: what is read after a final record is all there will be. Undefined while Redis is away. */
async function lookAt(deps: ConsoleDeps, { vmId, position }: { vmId: string; position: ConsolePosition | undefined }) {
  try {
    const record = await deps.gate.run(() => deps.store.get(vmId));
    const needsTail = position !== undefined && record?.epoch !== position.epoch;
    return { record, ...(await readRedis(deps, { vmId, needsTail })) };
  } catch {
    return undefined; // an open console outlives an outage, as the guest does
  }
}

async function readRedis(
  { store, liveConsole, gate }: ConsoleDeps,
  { vmId, needsTail }: { vmId: string; needsTail: boolean },
) {
  const window = await gate.run(() => liveConsole.read(vmId));
  const tail = needsTail || window === undefined ? (await gate.run(() => store.tail(vmId)))?.console : undefined;
  return { window, tail };
}
