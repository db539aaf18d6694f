import { findLaunchesOf, type LaunchProcess } from "../../qemu/process-scan.ts";
import { within } from "../../runtime/bounded-wait.ts";
import { endProcess } from "../../runtime/end-process.ts";
import { guardedNotePath, writeGuardedNote } from "./guarded-note.ts";

/** A QEMU without a hung disk needs 20 ms. It saves nothing that is needed: the VM begins anew elsewhere. */
const TERM_MS = 300;
/** A disk that hangs or is full must not keep a QEMU alive. */
const NOTE_MS = 200;

/** Ends the VMs of one state directory because a deadline was missed. */
export class MachineEnder {
  readonly #stateDir: string;
  readonly #log: (line: string) => void;
  /** Ends under way, by process: one that resists (state D) must not hold up the others, nor the next scan. */
  readonly #ending = new Map<string, Promise<void>>();

  constructor(stateDir: string, log: (line: string) => void) {
    this.#stateDir = stateDir;
    this.#log = log;
  }

  /** Begins to end every QEMU that lives, all at once. Returns how many do. Throws when /proc cannot be read. */
  sweep(deadlineUptimeMs: number): number {
    const living = findLaunchesOf(this.#stateDir);
    for (const launch of living) {
      const key = `${launch.pid} ${launch.startTimeTicks}`;
      if (this.#ending.has(key)) continue;
      const ended = this.#end(launch, deadlineUptimeMs).finally(() => this.#ending.delete(key));
      this.#ending.set(key, ended);
    }
    return living.length;
  }

  /** Resolves when every end that was begun is proved or given up (about 6 s). Never rejects. */
  async settled(): Promise<void> {
    await Promise.all(this.#ending.values());
  }

  async #end(launch: LaunchProcess, deadlineUptimeMs: number): Promise<void> {
    const { uuid, epoch, pid } = launch;
    const what = `QEMU ${pid} of VM ${uuid}, launch ${epoch}`;
    const note = guardedNotePath({ stateDir: this.#stateDir, uuid, epoch });
    try {
      await within(writeGuardedNote(note, { atMs: Date.now(), deadlineUptimeMs }), NOTE_MS).catch((error: unknown) =>
        this.#log(`no note of the end of ${what}: ${textOf(error)}`),
      );
      this.#log(`${what} ended: ${await endProcess(launch, { termMs: TERM_MS })}`);
    } catch (error) {
      this.#log(`${what} could not be ended and is tried again: ${textOf(error)}`);
    }
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
