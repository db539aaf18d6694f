import { FINAL_STATES } from "../../src/contract/vm-state.ts";
import type { RedisKeys } from "../../src/queue/redis-keys.ts";
import type { AcceptOutcome } from "../../src/queue/vm-store.ts";
import type { History } from "./commands.ts";
import type { Network } from "./sim/network.ts";
import type { Death, HostWatcher, SimHost, SimProcess } from "./sim/sim-host.ts";
import type { Actor, World } from "./sim/world.ts";

/** What the model knows of a VM: far less than drover does. */
interface KnownVm {
  /** Redis has said so in its stream. */
  isAccepted: boolean;
  isRemovalAsked: boolean;
  /** The launch of which a stop was published. */
  stopping: number | undefined;
  /** Its last event, if that is an end. */
  final: string | undefined;
  finals: number;
  /** A client was told that it is gone. */
  isRemoved: boolean;
  seq: number;
  retries: number;
  attempts: number;
  /** Of the last launch that had a process. */
  epoch: number;
  /** Of the last launch, also of one that is still to come because a reaper has taken the VM back. */
  newestEpoch: number;
}

/** A shorter time without Redis before a worker's death makes no difference to the guard. */
const CUT_OFF_MIN_MS = 1_000;

/** A worker that can be reached again has renewed its lease and compared its VMs by then. */
const HEARD_AGAIN_MS = 5_000;

const FINAL_EVENTS = FINAL_STATES.map((state) => `vm.${state}`);
const LAUNCH_EVENTS = ["vm.preparing", "vm.starting", "vm.running", "vm.ready"];

export interface TruthOptions {
  readonly world: World;
  readonly network: Network;
  readonly keys: RedisKeys;
  readonly history: History;
  readonly hosts: () => readonly SimHost[];
}

/** Watches everything, like a god, and knows what must never be: the invariants I1 to I8 and I10. */
export class Truth implements HostWatcher {
  readonly #options: TruthOptions;
  readonly #vms = new Map<string, KnownVm>();
  /** Which VM each idempotency key has got. */
  readonly #keyed = new Map<string, string>();
  /** By host: when Redis could not be reached from there by a live worker, the last time. */
  readonly #outOfReach = new Map<string, { sinceMs: number; untilMs: number }>();
  readonly #workers = new Map<string, Actor>();
  /** By host: when its worker died, if it has none. */
  readonly #diedAt = new Map<string, number>();
  #events = 0;
  hasLost = false;
  /** Hosts that were to be emptied at some time. */
  readonly #evacuated = new Set<string>();
  /** Hosts that could not speak for their VMs when Redis lost data. */
  readonly #silentAtLoss = new Set<string>();
  readonly #violations: string[] = [];
  /** Copies of a VM on a host that is cut off with its worker alive: what `rerun` with `keep` allows. */
  overlaps = 0;

  constructor(options: TruthOptions) {
    this.#options = options;
  }

  violated(what: string): void {
    this.#options.world.tell("!!!!", () => what);
    this.#violations.push(what);
  }

  /** Throws the first violation. */
  check(): void {
    this.#readEvents();
    const [first] = this.#violations;
    if (first !== undefined) throw new Error(first);
  }

  /** VMs that must have one fate. */
  get accepted(): readonly string[] {
    return [...this.#vms].filter(([, { isAccepted }]) => isAccepted).map(([vmId]) => vmId);
  }

  isFinal(vmId: string): boolean {
    return this.#vms.get(vmId)?.final !== undefined;
  }

  noteReach(host: SimHost): void {
    const { network, world } = this.#options;
    const isAlive = this.#workers.get(host.hostId)?.isAlive === true;
    if (isAlive) this.#diedAt.delete(host.hostId);
    else if (!this.#diedAt.has(host.hostId)) this.#diedAt.set(host.hostId, world.nowMs);
    const isHeard = network.reaches(host.place) && isAlive;
    const known = this.#outOfReach.get(host.hostId);
    if (isHeard) {
      if (known !== undefined) known.untilMs = Math.min(known.untilMs, world.nowMs + HEARD_AGAIN_MS);
    } else if (known === undefined || known.untilMs <= world.nowMs)
      this.#outOfReach.set(host.hostId, { sinceMs: world.nowMs, untilMs: Number.POSITIVE_INFINITY });
    else known.untilMs = Number.POSITIVE_INFINITY;
  }

  noteWorker(host: SimHost, actor: Actor): void {
    this.#workers.set(host.hostId, actor);
    this.noteReach(host);
  }

  /** Redis has less than it had. */
  noteLoss(): void {
    const { network, keys, hosts } = this.#options;
    this.hasLost = true;
    this.#events = network.server.keys.read(keys.events, "stream")?.stream.entries.length ?? 0;
    for (const host of hosts()) {
      const living = host.living();
      if (living.length > 0 || host.directories.size > 0) this.#silentAtLoss.add(host.hostId);
      // That a VM runs must be on its disk at least; a worker that died in that very moment cannot say it.
      for (const process of living) process.hasRun &&= host.knowsRunning(process);
    }
    for (const vm of this.#vms.values()) vm.final = undefined; // the loss may have undone it
  }

  noteAnswer(key: string, { kind, vmId }: AcceptOutcome): void {
    if (kind !== "accepted" && kind !== "replayed") return;
    const before = this.#keyed.get(key);
    if (before !== undefined && before !== vmId && !this.hasLost)
      this.violated(`I10: key ${key} got ${vmId} after ${before}`);
    this.#keyed.set(key, vmId);
    if (!this.hasLost && this.#vms.get(vmId)?.isAccepted !== true) {
      this.#readEvents();
      if (this.#vms.get(vmId)?.isAccepted !== true) this.violated(`I1: ${vmId} was accepted without an event`);
    }
  }

  /** From now on the host may end what it runs: others can launch it. */
  noteEvacuation(hostId: string): void {
    this.#evacuated.add(hostId);
  }

  noteRemoved(vmId: string): void {
    this.#vm(vmId).isRemoved = true;
  }

  onSpawned(host: SimHost, process: SimProcess): void {
    const { vmId, epoch, port } = process;
    const vm = this.#vm(vmId);
    if (!vm.isAccepted && !this.hasLost) this.violated(`I2: a process of ${vmId}, which nobody has accepted`);
    if (vm.final !== undefined && !this.hasLost) this.violated(`I7: ${vmId} was started after ${vm.final}`);
    for (const other of this.#options.hosts()) {
      for (const twin of other.living(vmId)) if (twin !== process) this.#overlap(vmId, host, other);
    }
    const onPort = host.living().filter((each) => each !== process && each.port === port);
    if (onPort.length > 0) this.violated(`I4: port ${port} of ${host.hostId} was given away while a VM had it`);
    const withGpu = host.living().filter(({ hasGpu }) => hasGpu);
    if (process.hasGpu && withGpu.length > 1 && !this.hasLost)
      this.violated(`the GPU of ${host.hostId} was given away while a VM had it`);
    if (host.living().length > host.maxVmsEver) this.violated(`I8: ${host.living().length} VMs on ${host.hostId}`);
    if (epoch <= vm.epoch && !this.hasLost) this.#sameEpoch(process, vm.epoch);
    vm.epoch = Math.max(vm.epoch, epoch);
    vm.newestEpoch = Math.max(vm.newestEpoch, epoch);
  }

  /** Several processes in one launch are allowed one after the other: the next port. */
  #sameEpoch({ vmId, epoch }: SimProcess, last: number): void {
    if (epoch < last) this.violated(`I3: epoch ${epoch} of ${vmId} was started after ${last}`);
  }

  #overlap(vmId: string, here: SimHost, there: SimHost): void {
    const { history } = this.#options;
    if (here === there) {
      this.violated(`I3: two processes of ${vmId} on ${here.hostId}`);
      return;
    }
    if (this.#silentAtLoss.has(there.hostId)) return;
    if (history.lost === "rerun" && history.onPartition === "keep" && this.#wasCutOff(there)) {
      this.overlaps += 1;
      return;
    }
    this.violated(`I3: ${vmId} runs on ${there.hostId} and was started on ${here.hostId}`);
  }

  /** Its worker lives without Redis, or has died so late that the guard's deadline has not come yet. */
  #wasCutOff({ hostId }: SimHost): boolean {
    const cut = this.#outOfReach.get(hostId);
    if (cut === undefined || cut.untilMs <= this.#options.world.nowMs) return false;
    const diedAtMs = this.#diedAt.get(hostId);
    return diedAtMs === undefined || diedAtMs - cut.sinceMs > CUT_OFF_MIN_MS;
  }

  onDied(host: SimHost, process: SimProcess, death: Death): void {
    if (death !== "worker" || !process.hasRun || process.isGuestDown) return;
    const vm = this.#vm(process.vmId);
    this.#readEvents();
    const newer = this.#options
      .hosts()
      .some((other) =>
        other.processes.some((p) => p.vmId === process.vmId && p !== process && p.epoch >= process.epoch),
      );
    const isReason =
      this.#evacuated.has(host.hostId) ||
      vm.isRemovalAsked ||
      vm.stopping === process.epoch ||
      vm.final !== undefined ||
      vm.newestEpoch > process.epoch ||
      newer;
    if (!isReason) this.violated(`a running VM was ended without evidence against it: ${process.vmId}`);
  }

  #vm(vmId: string): KnownVm {
    const known = this.#vms.get(vmId);
    if (known !== undefined) return known;
    const made: KnownVm = {
      isAccepted: false,
      isRemovalAsked: false,
      stopping: undefined,
      final: undefined,
      finals: 0,
      isRemoved: false,
      seq: 0,
      retries: 0,
      attempts: 1,
      epoch: 0,
      newestEpoch: 0,
    };
    this.#vms.set(vmId, made);
    return made;
  }

  #readEvents(): void {
    const { network, keys } = this.#options;
    const entries = network.server.keys.read(keys.events, "stream")?.stream.entries ?? [];
    for (; this.#events < entries.length; this.#events++) {
      const fields = entries[this.#events]?.fields ?? [];
      const [, type = "", , vmId = "", , , , seq = "", , , , data = ""] = fields;
      this.#onEvent(type, vmId, Number(seq), JSON.parse(data) as Record<string, unknown>);
    }
  }

  #onEvent(type: string, vmId: string, seq: number, data: Record<string, unknown>): void {
    const { hosts, world } = this.#options;
    const vm = this.#vm(vmId);
    world.tell("event", () => `${vmId.slice(0, 8)} ${seq} ${type} ${JSON.stringify(data)}`);
    if (!this.hasLost && seq !== vm.seq + 1) this.violated(`I6: event ${seq} of ${vmId} follows ${vm.seq}`);
    vm.seq = seq;
    if (type === "vm.queued" && data["reason"] === "accepted") {
      if (vm.isAccepted && !this.hasLost) this.violated(`I10: ${vmId} was accepted twice`);
      vm.isAccepted = true;
    }
    if (type === "vm.queued" && data["reason"] === "retried_by_hand") {
      vm.final = undefined;
      vm.finals = 0;
      vm.retries = 0;
    }
    if (type === "vm.queued" && data["reason"] === "host_lost") vm.newestEpoch = vm.epoch + 1;
    if (type === "vm.stopping") vm.stopping = Number(data["epoch"]);
    if (type === "vm.removal_requested") vm.isRemovalAsked = true;
    if (LAUNCH_EVENTS.includes(type) && vm.final !== undefined && !this.hasLost)
      this.violated(`I7: ${type} of ${vmId} after ${vm.final}`);
    if (LAUNCH_EVENTS.includes(type) && vm.isRemovalAsked && !this.hasLost)
      this.violated(`a marked VM entered a launch state: ${type} of ${vmId}`);
    if (type === "vm.running") {
      for (const host of hosts()) {
        if (host.hostId !== data["host"]) continue;
        for (const process of host.living(vmId)) if (process.epoch === data["epoch"]) process.hasRun = true;
      }
    }
    if (type === "vm.retrying") vm.retries += 1;
    if (type === "vm.retrying" && vm.retries >= Number(data["attempts"]) && !this.hasLost)
      this.violated(`I10: retry ${vm.retries} of ${vmId}, of ${data["attempts"]} attempts`);
    if (FINAL_EVENTS.includes(type)) this.#onFinal(type, vmId, vm, data);
  }

  #onFinal(type: string, vmId: string, vm: KnownVm, data: Record<string, unknown>): void {
    const { hosts, history } = this.#options;
    vm.final = type;
    vm.finals += 1;
    if (vm.finals > 1 && !this.hasLost) this.violated(`I1: ${vmId} has a second end, ${type}`);
    const cause = data["cause"] as { code?: string; message?: string } | undefined;
    if (cause?.code === "internal") this.violated(`${vmId} failed with drover's own fault: ${cause.message}`);
    for (const host of hosts()) {
      const [left] = host.living(vmId);
      if (left === undefined) continue;
      // What counts is a newer launch, and this one a copy that `rerun` with `keep` allows.
      const isCopy = history.lost === "rerun" && history.onPartition === "keep" && left.epoch < vm.newestEpoch;
      const mayLive = isCopy && this.#wasCutOff(host);
      if (!mayLive && !this.#silentAtLoss.has(host.hostId))
        this.violated(`I7: ${type} of ${vmId}, and a process of it lives on ${host.hostId}`);
    }
  }
}
