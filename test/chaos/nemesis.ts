import { createServer, type Server } from "node:net";
import { isAlive, signalProcess } from "../../src/runtime/process-identity.ts";
import { FAIL_POINTS } from "../../src/worker/fail-points.ts";
import type { PlannedFault } from "./plan.ts";
import { type Edge, HOSTS, type HostName, type World } from "./world.ts";

/** Does what the plan says, when it says so, and undoes it again. */
export class Nemesis {
  readonly #world: World;
  readonly #running = new Set<Promise<void>>();
  /** Targets that are not whole: a second fault there would have nothing to break. */
  readonly #broken = new Set<string>();
  /** QEMUs that stand still because of us. */
  readonly #paused = new Map<number, { pid: number; startTimeTicks: number; vmId: string }>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Begins with a fault; it heals by itself when its time is over. */
  inflict(fault: PlannedFault, signal: AbortSignal): void {
    const task = this.#inflict(fault, signal).finally(() => this.#running.delete(task));
    this.#running.add(task);
    task.catch(() => undefined); // `idle` tells of it
  }

  /** Waits until every fault is undone. Throws what went wrong in one. */
  async idle(): Promise<void> {
    await Promise.all(this.#running);
    for (const qemu of this.#paused.values()) this.#resume(qemu);
  }

  async #inflict(fault: PlannedFault, signal: AbortSignal): Promise<void> {
    if (this.#broken.has(fault.target)) return; // the one before took longer than planned
    if (fault.target !== "any") this.#broken.add(fault.target);
    try {
      const undo = await this.#begin(fault);
      if (undo === undefined) return; // there was nothing to do it to
      await pause(fault.forMs, signal);
      await undo();
      this.#note("ok", fault);
    } finally {
      this.#broken.delete(fault.target);
    }
  }

  /** Begins, and gives what undoes it; undefined where the target is not there, so that nothing was done. */
  async #begin(fault: PlannedFault): Promise<(() => Promise<void> | void) | undefined> {
    const world = this.#world;
    const { kind, target, amount, pick } = fault;
    const host = HOSTS.find((name) => name === target);
    switch (kind) {
      case "worker-kill":
      case "worker-term":
        if (host === undefined || !world.hasWorker(host)) return undefined;
        this.#note("invoke", fault);
        await world.endWorker(host, kind === "worker-kill" ? "SIGKILL" : "SIGTERM");
        return () => void world.startWorker(host, amount);
      case "worker-fail-point": {
        if (host === undefined || !world.hasWorker(host)) return undefined;
        const point = FAIL_POINTS[Math.floor(pick * FAIL_POINTS.length)] ?? FAIL_POINTS[0];
        const isKill = Math.floor(pick * 1_000) % 3 !== 0;
        this.#note("invoke", fault);
        await world.endWorker(host, "SIGKILL");
        world.startWorker(host, amount, `${point}:${isKill ? "kill" : "hold"}:1`);
        return async () => {
          await world.endWorker(host, isKill ? "SIGKILL" : "SIGTERM");
          world.startWorker(host, amount);
        };
      }
      case "worker-pause":
        if (host === undefined || !world.hasWorker(host)) return undefined;
        this.#note("invoke", fault);
        world.signalWorker(host, "SIGSTOP");
        return () => world.signalWorker(host, "SIGCONT");
      case "api-kill":
        this.#note("invoke", fault);
        await world.killApi();
        return () => world.startApi();
      case "redis-kill":
        this.#note("invoke", fault);
        await world.killRedis();
        return () => world.startRedis();
      case "redis-flush":
        this.#note("invoke", fault);
        return this.#flush();
      case "qemu-kill":
      case "qemu-pause":
        return this.#hitQemu(fault);
      case "foreign-port":
        return host === undefined ? undefined : this.#takePorts(fault, host);
      default: {
        const edge = world.edges[target as Edge]; // the plan draws targets of these kinds from the edges
        this.#note("invoke", fault);
        edge.inflict(
          kind === "latency"
            ? { verb: kind, ms: amount }
            : kind === "cut-after"
              ? { verb: kind, bytes: amount }
              : { verb: kind },
        );
        return () => edge.heal();
      }
    }
  }

  #hitQemu(fault: PlannedFault): (() => void) | undefined {
    const candidates = this.#world.sampler.live.filter((qemu) => isAlive(qemu) && !this.#paused.has(qemu.pid));
    const qemu = candidates[Math.floor(fault.pick * candidates.length)];
    if (qemu === undefined) return undefined;
    this.#note("invoke", fault, qemu.vmId);
    const signal = fault.kind === "qemu-kill" ? "SIGKILL" : "SIGSTOP";
    this.#world.recorder.add("signal", { pid: qemu.pid, signal }, { process: "nemesis", vmId: qemu.vmId });
    signalProcess(qemu, signal);
    if (signal === "SIGSTOP") this.#paused.set(qemu.pid, qemu);
    return () => this.#resume(qemu);
  }

  #resume(qemu: { pid: number; startTimeTicks: number; vmId: string }): void {
    if (!this.#paused.delete(qemu.pid)) return;
    this.#world.recorder.add("signal", { pid: qemu.pid, signal: "SIGCONT" }, { process: "nemesis", vmId: qemu.vmId });
    signalProcess(qemu, "SIGCONT");
  }

  /** A stranger binds some of the host's free ports. */
  async #takePorts(fault: PlannedFault, host: HostName): Promise<() => Promise<void>> {
    this.#note("invoke", fault);
    const { first, last } = this.#world.ports[host];
    const start = first + Math.floor(fault.pick * (last - first));
    const servers: Server[] = [];
    for (let port = start; port <= last && servers.length < fault.amount; port++) {
      const server = createServer();
      const bound = await new Promise<boolean>((resolve) => {
        server.once("error", () => resolve(false)); // a VM has it
        server.listen(port, "127.0.0.1", () => resolve(true));
      });
      if (bound) servers.push(server);
    }
    return async () => {
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    };
  }

  async #flush(): Promise<() => void> {
    const client = this.#world.client();
    await client.flushall();
    client.disconnect();
    return () => undefined;
  }

  #note(type: "invoke" | "ok", { id, kind, target, amount, forMs }: PlannedFault, vmId?: string): void {
    const detail = `${amount} for ${forMs} ms`;
    this.#world.recorder.add("fault", { id, kind, target, detail }, { process: "nemesis", type, vmId });
  }
}

/** A wait that ends early, and without an error, when the run is to be healed. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
