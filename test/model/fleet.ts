import type { VmSpec } from "../../src/contract/vm-request.ts";
import { BatchStore } from "../../src/queue/batch-store.ts";
import type { RedisClient } from "../../src/queue/connection.ts";
import { HostRegistry } from "../../src/queue/host-registry.ts";
import { type RedisKeys, redisKeys } from "../../src/queue/redis-keys.ts";
import { VmQueue } from "../../src/queue/vm-queue.ts";
import { VmStore } from "../../src/queue/vm-store.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import type { Config } from "../../src/runtime/config-shape.ts";
import { BatchTruth } from "./batch-truth.ts";
import { type Command, FIRST_PORT, type History, HOSTS, PORTS } from "./commands.ts";
import { fakeClient } from "./redis/fake-client.ts";
import { FakeRedis } from "./redis/fake-redis.ts";
import { Network, type Place } from "./sim/network.ts";
import { SimHost } from "./sim/sim-host.ts";
import { SimWorker } from "./sim/sim-worker.ts";
import { storyLogger } from "./sim/story-logger.ts";
import { type Actor, EPOCH_MS, type World } from "./sim/world.ts";
import { Truth } from "./truth.ts";

/** Short, so that much happens in little time; in the proportions of the defaults. */
const BASE = loadConfig({ DROVER_STATE_DIR: "/s", HOME: "/", MANAGER_INSTANCE_ID: "x" }).config;
const KEYS = redisKeys("{d}");

function configOf({ lost, onPartition }: History): Config {
  return {
    ...BASE,
    qemu: { ...BASE.qemu, hostFwdRange: { first: FIRST_PORT, last: FIRST_PORT + PORTS - 1 } },
    pools: ["default"],
    lease: { ttlMs: 3_000, renewMs: 1_000 },
    hostLost: { policy: lost, afterMs: 8_000, onPartition, awayMaxMs: 10_000 },
    reconcileMs: 5_000,
    sweepMs: 5_000,
    stop: { powerdownMs: 2_000, quitMs: 500, termMs: 500 },
    launch: { ...BASE.launch, backoffMs: 500, backoffMaxMs: 2_000, qmpTimeoutMs: 2_000, portAsideMs: 10_000 },
  };
}

/** Who has been asked for what, as its client knows it. */
interface Submission {
  readonly vmId: string;
  tries: number;
}

/** Two hosts, an API and a Redis, with everything that can happen to them. */
export class Fleet {
  readonly world: World;
  readonly network: Network;
  readonly keys: RedisKeys = KEYS;
  readonly hosts: readonly SimHost[];
  readonly truth: Truth;
  readonly batches: BatchTruth;
  /** Workers have a feeder where there is something to feed. */
  readonly #hasBatches: boolean;
  readonly #config: Config;
  readonly #workers: (SimWorker | undefined)[] = [];
  readonly #submissions = new Map<number, Submission>();
  /** Hosts of which somebody has wanted something. */
  readonly #wished = new Set<number>();
  readonly #apiPlace: Place = { name: "api", cut: undefined };
  #api: {
    readonly actor: Actor;
    readonly store: VmStore;
    readonly queue: VmQueue;
    readonly hosts: HostRegistry;
    readonly batches: BatchStore;
  };
  #lives = 0;
  /** Commands that wait until a worker has done enough. */
  #armed: { readonly actor: Actor; readonly atSteps: number; readonly command: Command }[] = [];
  /** From here on every worker that ends is started again. */
  #isHealed = false;

  /** `breakScript`: what becomes of the text of a script, for a test of the test. */
  constructor(world: World, history: History, breakScript?: (text: string) => string) {
    this.world = world;
    this.network = new Network(world, new FakeRedis(() => EPOCH_MS + world.nowMs, breakScript));
    this.network.server.keys.isJournaled = history.commands.some((command) => command.do === "redisLose");
    this.#config = configOf(history);
    this.truth = new Truth({ world, network: this.network, keys: KEYS, history, hosts: () => this.hosts });
    this.#hasBatches = history.commands.some((command) => command.do === "batch");
    const { server } = this.network;
    this.batches = new BatchTruth({ server, keys: KEYS, hasLost: () => this.truth.hasLost });
    this.hosts = Array.from({ length: HOSTS }, (_, at) => {
      const gpu = at === 0 && "0000:41:00.0"; // one of them has a GPU, which VMs take where it is free
      return new SimHost(world, { hostId: `host-${"ab"[at]}`, gpu, maxVms: 2, watcher: this.truth });
    });
    this.hosts.forEach((_, at) => {
      this.#start(at);
    });
    this.#api = this.#newApi();
  }

  /** To be called after every event: does what waits for its moment. */
  step(): void {
    if (this.#armed.length > 0) {
      const due = this.#armed.filter(({ actor, atSteps }) => actor.steps >= atSteps || !actor.isAlive);
      this.#armed = this.#armed.filter((each) => !due.includes(each));
      for (const { command } of due) this.#do(command);
    }
    const violation = this.#hasBatches ? this.batches.violation() : undefined;
    if (violation !== undefined) this.truth.violated(violation);
    this.truth.check();
  }

  carryOut(command: Command): void {
    const worker = "steps" in command && command.steps > 0 ? this.#workers[command.host] : undefined;
    if (worker?.actor.isAlive !== true || !("steps" in command)) this.#do(command);
    else this.#armed.push({ actor: worker.actor, atSteps: worker.actor.steps + command.steps, command });
  }

  #do(command: Command): void {
    this.world.tell("----", () => JSON.stringify(command));
    switch (command.do) {
      case "submit":
        this.#submit(command);
        return;
      case "batch":
        this.#submitBatch(command);
        return;
      case "cancelBatch":
      case "retryFailed": {
        const ids = this.batches.batchIds;
        const batchId = ids[command.batch % ids.length];
        if (batchId === undefined) return;
        if (command.do === "retryFailed") this.#asApi(({ batches }) => batches.retryFailed(batchId));
        else this.#asApi(({ batches }) => batches.cancel(batchId, "me"));
        return;
      }
      case "remove":
        this.#remove(command.vm, command.force);
        return;
      case "retry": {
        const vmId = this.#submitted(command.vm);
        if (vmId !== undefined) this.#asApi(({ store }) => store.retryByHand({ vmId, by: "me" }));
        return;
      }
      case "powerOff":
        this.#processes(command.vm, (host, process) => host.powerOff(process));
        return;
      case "kill":
        this.#processes(command.vm, (host, process) =>
          host.end(process, "accident", { exitCode: null, signal: "SIGKILL" }),
        );
        return;
      case "hang":
        this.#processes(command.vm, (_host, process) => {
          process.isHung = true;
        });
        return;
      case "crash":
        this.#crash(command.host);
        return;
      case "stop":
        this.#stop(command.host);
        return;
      case "start":
        this.#start(command.host);
        return;
      case "reboot": {
        this.#crash(command.host);
        this.#host(command.host).reboot();
        this.#start(command.host);
        return;
      }
      case "cut":
      case "heal": {
        const host = this.#host(command.host);
        const isSilent = "silent" in command && command.silent;
        host.place.cut = command.do === "heal" ? undefined : isSilent ? "silent" : "reset";
        this.truth.noteReach(host);
        this.network.refresh();
        return;
      }
      case "redisDown":
        if (this.network.isServerUp) this.network.stopServer();
        this.#noteReach();
        return;
      case "redisUp":
        if (!this.network.isServerUp) this.network.startServer();
        this.#noteReach();
        return;
      case "redisLose":
      case "flush": {
        if (this.network.isServerUp) this.network.stopServer();
        const { keys } = this.network.server;
        if (command.do === "flush") keys.loseAll();
        else keys.loseLast("count" in command ? command.count : 0);
        this.truth.noteLoss();
        this.network.startServer();
        this.#noteReach();
        return;
      }
      case "apiCrash": {
        this.world.kill(this.#api.actor);
        this.network.abandon(this.#api.actor);
        this.#api = this.#newApi();
        return;
      }
      case "bind": {
        const { foreignPorts } = this.#host(command.host);
        const port = FIRST_PORT + command.port;
        const isOurs = this.#host(command.host)
          .living()
          .some((process) => process.port === port);
        if (!isOurs) foreignPorts.add(port);
        return;
      }
      case "diskFull":
        this.#host(command.host).isDiskFull = command.on;
        return;
      case "slots": {
        const host = this.#host(command.host);
        host.maxVms = command.count;
        host.maxVmsEver = Math.max(host.maxVmsEver, command.count);
        return;
      }
      case "clock":
        this.#host(command.host).clock.offsetMs += command.ms;
        return;
      case "wish":
        this.#wish(command);
        return;
      case "advance":
        return;
    }
  }

  /** Every fault ends; who was down comes back. */
  healAll(): void {
    this.world.tell("----", () => "everything heals");
    this.#isHealed = true;
    this.#armed = [];
    for (const host of this.hosts) {
      host.place.cut = undefined;
      host.isDiskFull = false;
      host.foreignPorts.clear();
      host.clock.offsetMs = 0;
      for (const process of host.processes) process.isHung = false;
    }
    if (!this.network.isServerUp) this.network.startServer();
    this.network.refresh();
    this.#noteReach();
    this.hosts.forEach((_, at) => {
      this.#start(at);
    });
  }

  /** Every host that was ever wanted otherwise is to take VMs. */
  openAll(): void {
    for (const host of this.#wished) this.#wish({ host, kind: "open" });
  }

  removeAll(): void {
    // After a loss a VM may live whose end was told: Redis had lost a newer launch, and heard of it only after the end.
    const hasEnded = (vmId: string) =>
      this.truth.isFinal(vmId) && this.hosts.every((host) => host.living(vmId).length === 0);
    for (const vmId of this.truth.accepted) if (!hasEnded(vmId)) this.#removeVm(vmId, true);
    for (const batchId of this.batches.batchIds) this.#asApi(({ batches }) => batches.cancel(batchId, "me"));
  }

  #wish({ host, kind }: Pick<Extract<Command, { do: "wish" }>, "host" | "kind">): void {
    const { hostId } = this.#host(host);
    this.#wished.add(host);
    if (kind === "evacuating") this.truth.noteEvacuation(hostId);
    this.#asApi(({ hosts }) => hosts.wish(hostId, { kind, by: "me", note: null, timeoutMs: null }));
  }

  #host(at: number): SimHost {
    const host = this.hosts[at];
    if (host === undefined) throw new Error(`no host ${at}`);
    return host;
  }

  #noteReach(): void {
    for (const host of this.hosts) this.truth.noteReach(host);
  }

  #start(at: number): void {
    const known = this.#workers[at];
    if (known?.actor.isAlive === true) return;
    this.#lives += 1;
    const host = this.#host(at);
    const worker = new SimWorker({
      host,
      network: this.network,
      keys: KEYS,
      config: this.#config,
      life: this.#lives,
      feedsBatches: this.#hasBatches,
    });
    this.#workers[at] = worker;
    this.truth.noteWorker(host, worker.actor);
    this.world.spawn(worker.actor, () => worker.live());
  }

  #crash(at: number): void {
    const worker = this.#workers[at];
    if (worker?.actor.isAlive !== true) return;
    this.world.kill(worker.actor);
    this.network.abandon(worker.actor);
    this.truth.noteReach(this.#host(at));
  }

  #stop(at: number): void {
    const worker = this.#workers[at];
    if (worker?.actor.isAlive !== true) return;
    const end = () => {
      if (this.#workers[at] !== worker) return;
      this.#crash(at);
      if (this.#isHealed) this.#start(at);
    };
    // What is still under way when the stop has returned dies with the process.
    this.world.spawn(
      worker.actor,
      () => worker.stop().then(end),
      (error) => this.truth.violated(`a worker's stop failed: ${error}`),
    );
    this.world.after(this.world.network, 15_000, () => {
      if (worker.actor.isAlive) end(); // SIGKILL by the service manager
    });
  }

  #submit({ vm, ttlMs, attempts }: Extract<Command, { do: "submit" }>): void {
    const known = this.#submissions.get(vm) ?? { vmId: `0000000${vm}-0000-4000-8000-000000000000`, tries: 0 };
    known.tries += 1;
    this.#submissions.set(vm, known);
    const spec: VmSpec = ttlMs === 0 ? {} : { ttl: `${ttlMs}ms` };
    // A client that tries again cannot know the id that it got the first time.
    const vmId = known.tries === 1 ? known.vmId : known.vmId.replace("0000-4000", `000${known.tries % 10}-4000`);
    this.#asApi(async ({ store, queue }) => {
      const accepted = await store.accept({
        vmId,
        owner: "local",
        digest: "d",
        spec,
        sealedSecrets: undefined,
        pool: "default",
        priority: "normal",
        attempts,
        queueTimeoutMs: undefined,
        idempotencyKey: `key-${vm}`,
      });
      this.truth.noteAnswer(`key-${vm}`, accepted);
      if (accepted.kind === "conflict") return;
      this.#submissions.set(vm, { vmId: accepted.vmId, tries: known.tries });
      if (accepted.record !== undefined) await queue.enqueue(accepted.record);
    });
  }

  #submitBatch({ batch, items, maxParallel, stopAfter }: Extract<Command, { do: "batch" }>): void {
    this.#asApi(async ({ batches }) => {
      const upload = batches.newUpload({ owner: "local", idempotencyKey: `batch-${batch}` });
      for (let line = 1; line <= items; line++) await upload.add({ line, spec: {} });
      const { kind } = await upload.commit({
        digest: `d${items}`,
        defaults: {},
        maxParallel,
        stopAfterFailures: stopAfter === 0 ? undefined : stopAfter,
        pool: "default",
        attempts: 1,
        rejected: 0,
        problems: [],
        eventsMax: this.#config.eventsMax,
      });
      this.world.tell("api", () => `batch ${upload.batchId}: ${kind}`);
    });
  }

  #remove(vm: number, force: boolean): void {
    const vmId = this.#submitted(vm);
    if (vmId !== undefined) this.#removeVm(vmId, force);
  }

  /** One of those that were submitted. */
  #submitted(at: number): string | undefined {
    const known = [...this.#submissions.values()];
    return known[at % known.length]?.vmId;
  }

  #removeVm(vmId: string, force: boolean): void {
    this.#asApi(async ({ store, queue }) => {
      const outcome = await store.requestRemoval({ vmId, reason: "requested", by: "me", force });
      if (outcome.kind === "removed" || outcome.kind === "final") this.truth.noteRemoved(vmId);
      if (outcome.kind !== "marked" || outcome.host === undefined) return;
      await queue.notifyRemoval(outcome.host, vmId);
      this.#tellHost(outcome.host, vmId);
    });
  }

  /** The removal job reaches its host, or is lost: a hint only. */
  #tellHost(hostId: string, vmId: string): void {
    const at = this.hosts.findIndex((host) => host.hostId === hostId);
    const worker = this.#workers[at];
    const host = this.hosts[at];
    if (worker?.actor.isAlive !== true || host?.place.cut !== undefined || this.world.random() < 0.2) return;
    this.world.after(worker.actor, this.world.delayMs(), () => void worker.hear(vmId).catch(() => undefined));
  }

  #processes(vm: number, act: (host: SimHost, process: SimHost["processes"][number]) => void): void {
    const vmId = this.#submitted(vm);
    for (const host of this.hosts) for (const process of host.living(vmId ?? "none")) act(host, process);
  }

  #asApi(
    story: (api: { store: VmStore; queue: VmQueue; hosts: HostRegistry; batches: BatchStore }) => Promise<unknown>,
  ): void {
    const { actor, ...parts } = this.#api;
    this.world.spawn(actor, () => story(parts));
  }

  #newApi() {
    this.#lives += 1;
    const actor: Actor = { name: `api/${this.#lives}`, isAlive: true, clock: { offsetMs: 0 }, steps: 0 };
    const before = this.world.current;
    this.world.current = actor; // whose connections these are
    const connect = (isPatient: boolean): RedisClient =>
      fakeClient(this.network.open(actor, this.#apiPlace, isPatient));
    const parts = { redis: connect(false), keys: KEYS, eventsMax: this.#config.eventsMax, keep: this.#config.keep };
    const queue = new VmQueue({ redis: connect(true), keys: KEYS, logger: storyLogger(this.world, actor) });
    this.world.current = before;
    return { actor, store: new VmStore(parts), queue, hosts: new HostRegistry(parts), batches: new BatchStore(parts) };
  }
}
