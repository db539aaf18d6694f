import { bootId, isAlive, type ProcessIdentity } from "../runtime/process-identity.ts";
import { launchCgroup, wasOutOfMemory } from "./cgroup-memory.ts";
import { DeathWatch } from "./death-watch.ts";
import { connectEitherMonitor } from "./monitor-choice.ts";
import type { QmpClient } from "./qmp-client.ts";
import { QmpError } from "./qmp-error.ts";
import { RunningQemu } from "./running-qemu.ts";
import type { SuperviseOptions } from "./supervision.ts";

/**
 * Why a recorded QEMU was not taken over. The process is left as it is.
 *
 * - `gone`: no process is what the record says: it has died, or the machine was started anew.
 * - `not-ours`: something answers and it is another VM.
 * - `busy`: it lives and both monitors are silent: others hold them, or it hangs.
 *
 * @public
 */
export class AttachFailure extends Error {
  override readonly name = "AttachFailure";
  readonly reason: "gone" | "not-ours" | "busy";

  constructor(reason: AttachFailure["reason"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

export interface AttachOptions extends SuperviseOptions, ProcessIdentity {
  /** Boot id of the time when pid and start time were recorded. */
  readonly bootId: string;
  /** Bound on the greeting, for each of the two monitors, and on each question. */
  readonly qmpTimeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Takes over a QEMU that another process has started and left: proves by pid, start time, boot id and the uuid that
 * QEMU itself reports that it is this VM, and supervises it from there on. Its exit code cannot be learnt.
 * An end of the guest while nobody watched shows in `ended` at once.
 * Throws {@link AttachFailure} and the signal's reason.
 */
export async function attachQemu(options: AttachOptions): Promise<RunningQemu> {
  options.signal.throwIfAborted();
  const identity: ProcessIdentity = { pid: options.pid, startTimeTicks: options.startTimeTicks };
  const alive = () => isAlive(identity);
  if (options.bootId !== bootId()) throw new AttachFailure("gone", "the machine was started anew since");
  if (!alive()) throw new AttachFailure("gone", `process ${identity.pid} of the record does not live any more`);
  const { paths, qmpTimeoutMs: timeoutMs, signal } = options;
  let client: QmpClient | undefined;
  try {
    client = await connectEitherMonitor({ paths, isAlive: alive, signal, timeoutMs });
    const [{ status }, { UUID }] = await Promise.all([
      client.execute("query-status", {}, { timeoutMs }),
      client.execute("query-uuid", {}, { timeoutMs }),
    ]);
    if (UUID !== options.vmId) throw new AttachFailure("not-ours", `its monitor says that it is VM ${UUID}`);
    const watch = new DeathWatch(identity);
    const cgroup = launchCgroup(identity.pid);
    return new RunningQemu(options, {
      process: {
        ...identity,
        exited: watch.dead.then((facts) => (wasOutOfMemory(cgroup) ? { ...facts, outOfMemory: true as const } : facts)),
        lookClosely: () => watch.hurry(),
        stopWatching: () => watch.stop(),
      },
      client,
      status,
      redial: (redialSignal) => connectEitherMonitor({ paths, isAlive: alive, signal: redialSignal }),
    });
  } catch (error) {
    client?.close();
    if (!(error instanceof QmpError)) throw error;
    if (alive()) throw new AttachFailure("busy", error.message, { cause: error });
    throw new AttachFailure("gone", `process ${identity.pid} ended while it was taken over`, { cause: error });
  }
}
