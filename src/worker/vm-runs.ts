import type { RemovalMark } from "../queue/launch-moves.ts";
import type { VmStore } from "../queue/vm-store.ts";
import type { Launch } from "./launch.ts";
import { type RunVmDeps, runVm } from "./run-vm.ts";
import { StopRequest } from "./stop-request.ts";

interface Run {
  readonly launch: Launch;
  readonly stop: StopRequest;
  readonly done: Promise<void>;
}

/** The VMs of this host: each has a slot from its launch until its local record is deleted. */
export class VmRuns {
  readonly #deps: RunVmDeps;
  readonly #runs = new Map<string, Run>();
  readonly #waiting = new Set<() => void>();

  constructor(deps: RunVmDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#runs.size;
  }

  /** Whether the launch that holds the job under this token is one of ours, up to the very end. */
  has({ vmId, token }: { vmId: string; token: string }): boolean {
    return this.#runs.get(vmId)?.launch.identity.token === token;
  }

  /** A slot and a port are free. MANAGER_MAX_VMS of 0 or less means no limit by slots. */
  hasRoom(): boolean {
    const { maxVms } = this.#deps.config.manager;
    return (maxVms <= 0 || this.#runs.size < maxVms) && this.#deps.launches.freePorts > 0;
  }

  /** Counts the free ports anew: those that were set aside come back by time alone. */
  async refreshFreePorts(): Promise<void> {
    await this.#deps.launches.countFreePorts();
    this.#wake();
  }

  /** Resolves when a slot or port came back, or at the abort. */
  roomChanged(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const proceed = () => {
        this.#waiting.delete(proceed);
        signal.removeEventListener("abort", proceed);
        resolve();
      };
      this.#waiting.add(proceed);
      signal.addEventListener("abort", proceed, { once: true });
    });
  }

  start(launch: Launch): void {
    const { vmId } = launch.identity;
    const stop = new StopRequest();
    const done = runVm(this.#deps, launch, stop)
      .catch((error) =>
        this.#deps.logger.error(
          { err: error, vmId },
          "a VM could not be brought to its end; the next start of the worker does it",
        ),
      )
      .finally(() => {
        if (this.#runs.get(vmId)?.launch === launch) this.#runs.delete(vmId); // its next launch may be there already
        this.#wake();
      });
    this.#runs.set(vmId, { launch, stop, done });
  }

  /** Looks at the removal mark of one VM, because somebody said that it has one. */
  async heedMark(vmId: string, store: VmStore): Promise<void> {
    const mark = (await this.#deps.launches.marked([vmId])).get(vmId);
    if (mark === undefined) return;
    const run = this.#runs.get(vmId);
    if (run !== undefined) return askStop(run, mark);
    // Between two launches: it waits in the queue by now, from which the removal takes it.
    await store.requestRemoval({ vmId, reason: mark.reason, by: "drover" });
  }

  /** A lost notice costs at most the time until this is called again. */
  async heedAllMarks(): Promise<void> {
    for (const [vmId, mark] of await this.#deps.launches.marked([...this.#runs.keys()])) {
      const run = this.#runs.get(vmId);
      if (run !== undefined) askStop(run, mark);
    }
    await this.#deps.claims.extendLocks([...this.#runs.values()].map(({ launch }) => launch.identity));
  }

  /** Stops every VM; each goes back to the queue and no attempt is used. Returns when all of them are settled. */
  async releaseAll(): Promise<void> {
    for (const { stop } of this.#runs.values()) stop.ask("released");
    await Promise.all([...this.#runs.values()].map(({ done }) => done));
  }

  #wake(): void {
    for (const proceed of this.#waiting) proceed();
  }
}

function askStop({ stop }: Run, mark: RemovalMark): void {
  stop.ask(mark.reason, { force: mark.force });
}
