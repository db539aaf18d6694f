import { LaunchFailure } from "../../../src/contract/causes.ts";
import { AttachFailure, type AttachOptions } from "../../../src/qemu/attach-qemu.ts";
import type { QemuEnd } from "../../../src/qemu/qemu-end.ts";
import type { StartOptions } from "../../../src/qemu/start-qemu.ts";
import type { StopOptions, StopOutcome } from "../../../src/qemu/stop-ladder.ts";
import type { ProcessIdentity } from "../../../src/runtime/process-identity.ts";
import type { GuestOrder, LiveQemu, Machine } from "../../../src/worker/machine.ts";
import { keyOf } from "./sim-files.ts";
import type { SimHost, SimProcess } from "./sim-host.ts";
import type { Actor } from "./world.ts";

const KILLED = { exitCode: null, signal: "SIGKILL" };
const TOLD = { exitCode: 0, signal: null };
/** A share of launches fails for reasons of the VM's own. */
const CRASH_SHARE = 0.03;

/** The machine as a worker sees it. */
export function simMachine(host: SimHost, worker: Actor): Machine {
  const { world } = host;
  const find = ({ pid, startTimeTicks }: ProcessIdentity): SimProcess | undefined =>
    host.processes.find((process) => process.pid === pid && process.startTimeTicks === startTimeTicks);
  const isAlive = (identity: ProcessIdentity) => find(identity)?.isAlive === true;

  return {
    isAlive,
    livingOf: (vmId) => host.living(vmId).map(({ pid, startTimeTicks, epoch }) => ({ pid, startTimeTicks, epoch })),
    isPortFree: (_bind, port) =>
      world.does(() => !host.foreignPorts.has(port) && !host.living().some((process) => process.port === port)),
    makeGuest: (order: GuestOrder) =>
      world.does(() => {
        order.signal.throwIfAborted();
        if (host.isDiskFull) throw new LaunchFailure("disk_full", "no space left");
        const directory = host.directories.get(keyOf(order.paths));
        if (directory === undefined) throw new LaunchFailure("state_dir_unusable", "no such directory");
        directory.hasSecrets = true;
        directory.hasDisk = true;
      }),
    readOutputs: async ({ dir }) => {
      const process = await world.does(() =>
        host.processes.findLast((each) => dir.endsWith(`${each.vmId}/${each.epoch}`)),
      );
      return { console: "", qemu: process?.output ?? "", result: Buffer.alloc(0) };
    },
    async end(identity, termMs) {
      const process = find(identity);
      if (process === undefined) return;
      await world.does(() => undefined, process.isHung ? termMs : Math.min(termMs, 5));
      await world.does(() => host.end(process, "worker", KILLED));
    },

    async start(options: StartOptions): Promise<LiveQemu> {
      options.signal.throwIfAborted();
      const port = options.expectedPort ?? 0;
      const [vmId = "", epoch = ""] = keyOf(options.paths).split("/");
      const hasGpu = options.args.some((arg) => arg.startsWith("vfio-pci,"));
      const process = await world.does(() => host.spawn({ vmId, epoch: Number(epoch), port, hasGpu, holder: worker }));
      const isTaken =
        host.foreignPorts.has(port) || host.living().some((each) => each !== process && each.port === port);
      if (isTaken) host.end(process, "accident", { exitCode: 1, signal: null });
      try {
        const noted = options.onSpawned?.(process);
        await Promise.all([handshake(process, options), noted]);
        return supervised(process);
      } catch (error) {
        await world.does(() => host.end(process, "worker", KILLED));
        throw error;
      }
    },

    async attach(options: AttachOptions): Promise<LiveQemu> {
      options.signal.throwIfAborted();
      if (options.bootId !== host.bootId) throw new AttachFailure("gone", "another boot");
      const process = find(options);
      await world.does(() => undefined, process?.isHung === true ? options.qmpTimeoutMs : world.delayMs());
      options.signal.throwIfAborted();
      if (process?.isAlive !== true) throw new AttachFailure("gone", "no such process");
      if (process.isHung || process.holder?.isAlive === true) throw new AttachFailure("busy", "does not answer");
      process.holder = worker;
      return supervised(process);
    },
  };

  /** QMP greets, says `running` and that the port is bound. */
  async function handshake(process: SimProcess, { signal, qmpTimeoutMs }: StartOptions): Promise<void> {
    const fails = world.random() < CRASH_SHARE;
    await world.does(() => undefined, 5 + 20 * world.delayMs());
    signal.throwIfAborted();
    if (fails) host.end(process, "accident", { exitCode: 1, signal: null });
    if (!process.isAlive) {
      const isTaken = host.foreignPorts.has(process.port);
      throw new LaunchFailure(isTaken ? "port_taken" : "qemu_crashed", "QEMU ended while it started");
    }
    if (!process.isHung) return;
    await world.does(() => undefined, qmpTimeoutMs);
    signal.throwIfAborted();
    throw new LaunchFailure("qemu_unresponsive", "QEMU does not answer");
  }

  /** What `RunningQemu` is to the worker. */
  function supervised(process: SimProcess): LiveQemu {
    let report: (end: QemuEnd) => void = () => undefined;
    const ended = new Promise<QemuEnd>((resolve) => {
      report = resolve;
    });
    let isDetached = false;
    const look = () => {
      if (process.isAlive && !process.isGuestDown) return;
      const end: QemuEnd = process.isGuestDown
        ? { kind: "guest-shutdown" }
        : { kind: "exited", ...process.exit, reason: process.output === "" ? null : "host-signal" };
      world.after(worker, world.delayMs(), () => {
        if (!isDetached) report(end);
      });
    };
    process.watchers.add(look);
    look();
    const detach = () => {
      isDetached = true;
      process.watchers.delete(look);
      if (process.holder === worker) process.holder = undefined;
    };
    return {
      pid: process.pid,
      startTimeTicks: process.startTimeTicks,
      ended,
      stop: async (options) => {
        const outcome = await descend(process, options);
        await ended;
        return outcome;
      },
      drainOutputs: () => world.does(() => ({ console: "", qemu: process.output, result: Buffer.alloc(0) })),
      detach: async () => detach(),
      resume: async () => true,
    };
  }

  /** The stop ladder, with a guest that obeys or does not. */
  async function descend(process: SimProcess, { bounds, forced }: StopOptions): Promise<StopOutcome> {
    const startedMs = world.nowMs;
    const isForced = () => forced?.aborted === true;
    const done = (rung: StopOutcome["rung"]) => ({ rung, tookMs: world.nowMs - startedMs });
    if (!process.isAlive) return done("already-dead");
    const obeys = world.random() < 0.7;
    if (bounds.powerdownMs > 0 && !isForced() && !process.isGuestDown) {
      const takesMs =
        obeys && !process.isHung ? Math.min(bounds.powerdownMs, 100 * world.delayMs()) : bounds.powerdownMs;
      const stepMs = takesMs / 4;
      for (let step = 0; step < 4 && !isForced(); step++) await world.does(() => undefined, stepMs);
      if (obeys && !isForced()) host.powerOff(process);
    }
    if (process.isHung) {
      await world.does(() => undefined, bounds.quitMs + bounds.termMs);
      await world.does(() => host.end(process, "worker", KILLED));
      return done("sigkill");
    }
    await world.does(() => host.end(process, process.isGuestDown ? "guest" : "worker", TOLD));
    return done("quit");
  }
}
