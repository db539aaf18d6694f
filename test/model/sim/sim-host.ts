import type { KnownGeneration } from "../../../src/queue/generation.ts";
import type { Place } from "./network.ts";
import type { Actor, World } from "./world.ts";

/** A QEMU of the simulation. */
export interface SimProcess {
  readonly pid: number;
  readonly startTimeTicks: number;
  readonly vmId: string;
  readonly epoch: number;
  readonly port: number;
  /** Its command line gives it the GPU of the host. */
  readonly hasGpu: boolean;
  isAlive: boolean;
  /** The guest has powered itself off; QEMU sits there until it is ended. */
  isGuestDown: boolean;
  /** Answers no monitor and hears no signal but SIGKILL. */
  isHung: boolean;
  /** Its launch was told that it runs, so that from here on only evidence is a reason to end it. */
  hasRun: boolean;
  exit: { readonly exitCode: number | null; readonly signal: string | null };
  /** Who holds its monitor. */
  holder: Actor | undefined;
  /** Told of the guest's end and of its own. */
  readonly watchers: Set<() => void>;
  output: string;
}

/** One launch's directory, as it is on disk. */
export interface SimDirectory {
  record?: string;
  plan?: string;
  hasSecrets: boolean;
  hasDisk: boolean;
  isGuarded: boolean;
}

/** Why a process died, for the checks. */
export type Death = "guest" | "worker" | "guard" | "host" | "accident";

/** What the checks want to hear of a host. */
export interface HostWatcher {
  onSpawned(host: SimHost, process: SimProcess): void;
  onDied(host: SimHost, process: SimProcess, death: Death): void;
}

/** After a power cut a deletion of the last seconds may not have happened. */
const UNSYNCED_MS = 5_000;

/** A machine: its processes and its disk outlive its worker, its disk outlives itself. */
export class SimHost {
  readonly world: World;
  readonly hostId: string;
  readonly stateId: string;
  readonly place: Place;
  readonly gpu: string | false;
  readonly clock = { offsetMs: 0 };
  /** Whatever of the host is no worker: kernel, guests, guard. */
  kernel: Actor;
  boots = 1;
  /** What a worker has written down of the data in Redis. */
  generation: KnownGeneration | undefined;
  maxVms: number;
  /** The most that it has been. */
  maxVmsEver: number;
  isDiskFull = false;
  readonly foreignPorts = new Set<number>();
  processes: SimProcess[] = [];
  readonly directories = new Map<string, SimDirectory>();
  /** Monotonic ms at which the guard ends all VMs. */
  guardDeadline: number | undefined;
  readonly #watcher: HostWatcher;
  #pids = 100;
  #deleted: { readonly atMs: number; readonly key: string; readonly directory: SimDirectory }[] = [];

  constructor(world: World, options: { hostId: string; gpu: string | false; maxVms: number; watcher: HostWatcher }) {
    this.world = world;
    this.hostId = options.hostId;
    this.stateId = `state-${options.hostId}`;
    this.place = { name: options.hostId, cut: undefined };
    this.gpu = options.gpu;
    this.maxVms = options.maxVms;
    this.maxVmsEver = options.maxVms;
    this.#watcher = options.watcher;
    this.kernel = { name: `${options.hostId}/kernel`, isAlive: true, clock: this.clock, steps: 0 };
  }

  get bootId(): string {
    return `boot-${this.hostId}-${this.boots}`;
  }

  living(vmId?: string): readonly SimProcess[] {
    return this.processes.filter((process) => process.isAlive && (vmId === undefined || process.vmId === vmId));
  }

  spawn(options: { vmId: string; epoch: number; port: number; hasGpu: boolean; holder: Actor }): SimProcess {
    this.#pids += 1;
    const process: SimProcess = {
      ...options,
      pid: this.#pids,
      startTimeTicks: Math.floor(this.world.nowMs / 10),
      isAlive: true,
      isGuestDown: false,
      isHung: false,
      hasRun: false,
      exit: { exitCode: null, signal: null },
      watchers: new Set(),
      output: "",
    };
    this.processes.push(process);
    this.world.tell(
      this.hostId,
      () => `process ${process.pid} of ${process.vmId.slice(0, 8)} epoch ${process.epoch}, port ${process.port}`,
    );
    this.#watcher.onSpawned(this, process);
    return process;
  }

  end(process: SimProcess, death: Death, exit: SimProcess["exit"]): void {
    if (!process.isAlive) return;
    process.isAlive = false;
    process.exit = exit;
    this.world.tell(this.hostId, () => `process ${process.pid} of ${process.vmId.slice(0, 8)} died (${death})`);
    this.#watcher.onDied(this, process, death);
    for (const tell of [...process.watchers]) tell();
  }

  powerOff(process: SimProcess): void {
    if (!process.isAlive || process.isGuestDown || process.isHung) return;
    process.isGuestDown = true;
    this.world.tell(this.hostId, () => `the guest of ${process.vmId.slice(0, 8)} is down`);
    for (const tell of [...process.watchers]) tell();
  }

  /** Whether it is on disk that the guest runs. */
  knowsRunning({ vmId, epoch }: SimProcess): boolean {
    return /"runningAtMs":\d/.test(this.directories.get(`${vmId}/${epoch}`)?.record ?? "");
  }

  /** The guard's order. */
  guardUntil(deadline: number | undefined): void {
    this.guardDeadline = deadline;
    if (deadline === undefined) return;
    this.world.after(this.kernel, Math.max(0, deadline - this.world.nowMs), () => {
      if (this.guardDeadline === deadline) this.#guardEnds();
    });
  }

  #guardEnds(): void {
    for (const process of this.living()) {
      const directory = this.directories.get(`${process.vmId}/${process.epoch}`);
      if (directory !== undefined) directory.isGuarded = true;
      this.end(process, "guard", { exitCode: null, signal: "SIGKILL" });
    }
  }

  deleteDirectory(key: string): void {
    const directory = this.directories.get(key);
    if (directory === undefined) return;
    this.directories.delete(key);
    this.#deleted.push({ atMs: this.world.nowMs, key, directory: { ...directory } });
  }

  /** The power goes and comes back: another boot, with what the disk holds. */
  reboot(): void {
    this.world.kill(this.kernel);
    for (const process of this.living()) this.end(process, "host", { exitCode: null, signal: null });
    this.processes = [];
    this.boots += 1;
    this.kernel = { name: `${this.hostId}/kernel`, isAlive: true, clock: this.clock, steps: 0 };
    this.guardDeadline = undefined;
    this.foreignPorts.clear();
    for (const { atMs, key, directory } of this.#deleted) {
      if (this.world.nowMs - atMs < UNSYNCED_MS && this.world.random() < 0.5 && !this.directories.has(key))
        this.directories.set(key, directory);
    }
    this.#deleted = [];
  }
}
