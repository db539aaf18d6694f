import type { Logger } from "pino";
import { isFinal } from "../contract/vm-state.ts";
import type { LaunchProcess } from "../qemu/process-scan.ts";
import type { LaunchFiles } from "./launch-files.ts";
import type { Machine } from "./machine.ts";
import type { Stores } from "./stores.ts";
import type { VmRuns } from "./vm-runs.ts";

const TERM_MS = 2_000;

export interface StrayProcessesDeps extends Pick<Stores, "store"> {
  /** The QEMUs of this state directory, by the process table alone. */
  readonly launches: () => readonly LaunchProcess[];
  readonly files: Pick<LaunchFiles, "list">;
  readonly machine: Pick<Machine, "end">;
  readonly runs: Pick<VmRuns, "hasVm">;
  readonly logger: Logger;
}

/**
 * QEMUs of this state directory of which nothing stands on the disk any more: somebody deleted it. One whose VM has
 * ended, or was launched anew since, is ended; without such evidence it is left running and said.
 */
export class StrayProcesses {
  readonly #deps: StrayProcessesDeps;
  readonly #told = new Set<number>();

  constructor(deps: StrayProcessesDeps) {
    this.#deps = deps;
  }

  /** One look. Rejects when Redis cannot be asked. */
  async look(): Promise<void> {
    const { launches, files, machine, runs, store, logger } = this.#deps;
    const candidates = launches().filter(({ uuid }) => !runs.hasVm(uuid));
    if (candidates.length === 0) return;
    const onDisk = new Set((await files.list()).map(({ vmId, epoch }) => `${vmId}/${epoch}`));
    for (const process of candidates) {
      const { uuid: vmId, epoch, pid } = process;
      if (onDisk.has(`${vmId}/${epoch}`)) continue; // the next round of reconciling has it
      const known = await store.get(vmId);
      if (known !== undefined && (isFinal(known.state) || known.epoch > epoch)) {
        logger.warn({ vmId, epoch, pid, state: known.state }, "ending a QEMU that nobody holds and whose VM has ended");
        await machine.end(process, TERM_MS);
      } else if (!this.#told.has(pid)) {
        this.#told.add(pid);
        logger.error({ vmId, epoch, pid }, "a QEMU runs of which nothing is known; see `drover doctor`");
      }
    }
  }
}
