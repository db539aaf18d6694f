import { setMaxListeners } from "node:events";
import { LAUNCH_STATES, type VmState } from "../contract/vm-state.ts";
import type { SettleTarget } from "../queue/job-claims.ts";
import type { RemovalMark } from "../queue/launch-moves.ts";
import type { ProcessIdentity } from "../runtime/process-identity.ts";
import { adoptVm, endLeftover, type Leftover } from "./adopt-vm.ts";
import type { EndPlan, LaunchEnd } from "./end-plan.ts";
import { finishEnd } from "./end-vm.ts";
import { hasAnyRoom, hasRoomFor, type Room, roomBeside } from "./host-room.ts";
import { type Launch, toLive } from "./launch.ts";
import { isRefusal, tellAgain } from "./move-vm.ts";
import { persistently } from "./persistently.ts";
import { type RunVmDeps, runVm } from "./run-vm.ts";
import { StopRequest } from "./stop-request.ts";

const TERM_MS = 2_000;

interface Run {
  readonly launch: Launch;
  readonly stop: StopRequest;
  readonly done: Promise<void>;
  /** Its end is decided: nothing is told to Redis again but that. */
  readonly ending: boolean;
}

/** The VMs of this host: each has a slot from its launch until its local record is deleted. */
export class VmRuns {
  readonly deps: RunVmDeps;
  readonly #runs = new Map<string, Run>();
  readonly #waiting = new Set<() => void>();

  constructor(deps: RunVmDeps) {
    this.deps = deps;
    // Each VM listens to them: without this Node takes the eleventh for a leak and prints so.
    setMaxListeners(0, deps.leaving, deps.giveUp);
  }

  get size(): number {
    return this.#runs.size;
  }

  /** Launches that have not come to run yet. */
  get launching(): number {
    return [...this.#runs.values()].filter(({ launch, ending }) => !ending && isLaunching(launch.state)).length;
  }

  /** Whether the launch that holds the job under this token is one of ours, up to the very end. */
  has({ vmId, token }: { vmId: string; token: string }): boolean {
    return this.#runs.get(vmId)?.launch.identity.token === token;
  }

  /** Whether some launch of the VM is in our hands. */
  hasVm(vmId: string): boolean {
    return this.#runs.has(vmId);
  }

  /** What is left of this host beside the VMs in our hands, each of which has its part to its very end. */
  get room(): Room {
    const { config, launches } = this.deps;
    const limits = { ...this.deps, maxVms: config.manager.maxVms, freePorts: launches.freePorts };
    return roomBeside(
      limits,
      [...this.#runs.values()].map(({ launch }) => launch),
    );
  }

  /** Whether one more VM fits, of whatever pool. */
  hasRoom(): boolean {
    return hasAnyRoom(this.room);
  }

  /** Those of the pools of which any VM would fit. */
  fitting(pools: readonly string[]): readonly string[] {
    const { room } = this;
    return pools.filter((pool) => hasRoomFor(room, pool));
  }

  /** PCI address of this host's GPU, or false where no VM can have it now. */
  get freeGpu(): string | false {
    return this.room.gpu;
  }

  /** Counts the free ports anew: those that were set aside come back by time alone. */
  async refreshFreePorts(): Promise<void> {
    await this.deps.launches.countFreePorts();
    this.wake();
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

  /** Whoever waits for room looks again. */
  wake(): void {
    for (const proceed of [...this.#waiting]) proceed();
  }

  start(launch: Launch): void {
    this.#run(launch, (stop) => runVm(this.deps, launch, stop));
  }

  /** Takes over a launch that the worker before this one has left; its claim has been made. */
  adopt(leftover: Leftover): void {
    this.#run(leftover.launch, (stop) => adoptVm(this.deps, leftover, stop));
  }

  /** Ends a launch of the worker before this one: nothing of it lives, or nothing that is worth keeping. */
  end(launch: Launch, end: LaunchEnd): void {
    this.#run(launch, (stop) => endLeftover(this.deps, launch, stop, end), true);
  }

  /** Finishes an end that was decided before. */
  finish(launch: Launch, plan: EndPlan, living: ProcessIdentity | undefined): void {
    const { machine, clock, logger, giveUp } = this.deps;
    const persist = { what: "finishing the end of a VM", vmId: launch.identity.vmId, clock, logger, giveUp };
    const step = async () => {
      if (living !== undefined) await machine.end(living, TERM_MS);
      await finishEnd(this.deps, launch, plan);
    };
    this.#run(launch, () => persistently(persist, step), true);
  }

  /** Looks at the removal mark of one VM, because somebody said that it has one. */
  async heedMark(vmId: string): Promise<void> {
    const mark = (await this.deps.launches.marked([vmId])).get(vmId);
    if (mark === undefined) return;
    const run = this.#runs.get(vmId);
    if (run !== undefined) return askStop(run, mark);
    // Between two launches: it waits in the queue by now, from which the removal takes it.
    await this.deps.store.requestRemoval({ vmId, reason: mark.reason, by: "drover" });
  }

  /**
   * Brings every VM in our hands and what Redis says of it into agreement: marks are heeded, what Redis has forgotten
   * is told again, what does not count any more is stopped. Gives how many had to be told again.
   */
  async agree(): Promise<number> {
    const outcomes = await Promise.allSettled([...this.#runs.values()].map((run) => this.#agreeOn(run)));
    const failed = outcomes.filter((outcome) => outcome.status === "rejected");
    // Damaged keys of one VM must not keep the others from being compared; a Redis that refuses must, whomever it met.
    const refused = failed.find(({ reason }) => failed.length === outcomes.length || isRefusal(reason));
    if (refused !== undefined) throw refused.reason;
    for (const { reason } of failed)
      this.deps.logger.error({ err: reason }, "Redis could not say what it knows of a VM");
    const targets: SettleTarget[] = [...this.#runs.values()].map(({ launch }) => launch.identity);
    await this.deps.claims.extendLocks(targets);
    return outcomes.filter((outcome) => outcome.status === "fulfilled" && outcome.value).length;
  }

  /** Stops every VM; each goes back to the queue and no attempt is used. Returns when all of them are settled. */
  async releaseAll(): Promise<void> {
    for (const { stop } of this.#runs.values()) stop.ask("released");
    await this.allDone();
  }

  /** The pools of VMs of which no stop is under way. */
  get stayingPools(): readonly string[] {
    return [...new Set(this.#staying().map(({ launch }) => launch.identity.pool))];
  }

  /** Stops the VMs that may go elsewhere, as `releaseAll` does; gives how many stay for now. */
  releaseWhere(mayGo: (launch: Launch) => boolean): number {
    const staying = this.#staying();
    const going = staying.filter(({ launch }) => mayGo(launch));
    for (const { stop } of going) stop.ask("released");
    return staying.length - going.length;
  }

  #staying(): readonly Run[] {
    return [...this.#runs.values()].filter(({ stop, ending }) => !ending && !stop.signal.aborted);
  }

  /** Stops the launches that have not come to run: nothing of them is worth keeping. */
  releaseLaunching(): void {
    for (const { launch, stop } of this.#runs.values()) if (isLaunching(launch.state)) stop.ask("released");
  }

  /** Returns when no VM is in our hands. */
  async allDone(): Promise<void> {
    while (this.#runs.size > 0) await Promise.all([...this.#runs.values()].map(({ done }) => done));
  }

  #run(launch: Launch, story: (stop: StopRequest) => Promise<void>, ending = false): void {
    const { vmId } = launch.identity;
    const { logger } = this.deps;
    const stop = new StopRequest();
    const done = Promise.resolve()
      .then(() => story(stop))
      .catch((error) =>
        logger.error(
          { err: error, vmId },
          "a VM could not be brought to its end; the next start of the worker does it",
        ),
      )
      .finally(() => {
        if (this.#runs.get(vmId)?.launch === launch) this.#runs.delete(vmId); // its next launch may be there already
        this.wake();
      });
    this.#runs.set(vmId, { launch, stop, done, ending });
  }

  async #agreeOn(run: Run): Promise<boolean> {
    const { launch, stop, ending } = run;
    if (ending || stop.reason === "superseded") return false;
    const { agrees, mark } = await this.deps.ownership.check(toLive(launch));
    const isCurrent = () => this.#runs.get(launch.identity.vmId) === run && !run.launch.ended;
    if (mark !== undefined && isCurrent()) askStop(run, mark);
    if (agrees || !isCurrent()) return false;
    try {
      return (await tellAgain(this.deps, { launch, stop })) === "reasserted";
    } catch (error) {
      if (stop.signal.aborted && error === stop.signal.reason) return false; // its stop is under way
      throw error;
    }
  }
}

function isLaunching(state: VmState): boolean {
  return (LAUNCH_STATES as readonly VmState[]).includes(state) && (state === "preparing" || state === "starting");
}

function askStop({ stop }: Run, mark: RemovalMark): void {
  stop.ask(mark.reason, { force: mark.force });
}
