import type { Logger } from "pino";
import { LaunchFailure } from "../contract/causes.ts";
import { parseGoDurationMs } from "../contract/go-duration.ts";
import { causeOfEnd } from "../qemu/classify-failure.ts";
import type { ConsoleWatch } from "../qemu/console-watch.ts";
import type { QemuEnd } from "../qemu/qemu-end.ts";
import { waitForTcpBytes } from "../qemu/readiness.ts";
import type { VmPaths } from "../qemu/vm-paths.ts";
import type { Config } from "../runtime/config-shape.ts";
import { linkSignals } from "../runtime/link-signals.ts";
import { inSpan } from "../runtime/tracing/in-span.ts";
import type { LaunchEnd } from "./end-plan.ts";
import type { FailPoints } from "./fail-points.ts";
import type { Launch } from "./launch.ts";
import type { LaunchFiles } from "./launch-files.ts";
import type { LaunchTrace } from "./launch-trace.ts";
import type { LiveQemu, Machine } from "./machine.ts";
import { type InHand, type MoveDeps, moveVm, saveLaunch } from "./move-vm.ts";
import type { StalledDisk } from "./stalled-disk.ts";
import type { StopReason, StopRequest } from "./stop-request.ts";
import type { Stores } from "./stores.ts";

/** setTimeout takes no longer wait. */
const TIMER_MAX_MS = 2 ** 31 - 1;
const TTL_RETRY_MS = 200;

export interface SuperviseDeps extends MoveDeps {
  readonly config: Config;
  readonly store: Stores["store"];
  readonly machine: Machine;
  readonly files: LaunchFiles;
  readonly failPoints: FailPoints;
  readonly logger: Logger;
  /** Aborted when the worker leaves its host's VMs to the next worker. */
  readonly leaving: AbortSignal;
  /** Where forwarded ports are bound; undefined: on all interfaces. */
  readonly forwardBind: string | undefined;
  /** Under which address clients reach this host. */
  readonly address: string;
}

export interface Supervised {
  readonly launch: Launch;
  readonly qemu: LiveQemu;
  readonly stop: StopRequest;
  readonly trace: LaunchTrace;
  /** Sees the console from the first byte on; there when the request's probe looks for a text. */
  readonly watch: ConsoleWatch | undefined;
  /** What has seen QEMU pause because the host's disk is full. */
  readonly stalled: StalledDisk;
  /** Takes the VM's secrets out of a text. */
  readonly mask: (text: string) => string;
  /** Called once the VM is up: running, and ready where a probe was asked for. */
  readonly onBooted: () => void;
}

/**
 * From `running` to the end of the guest, however that comes; "left" when the worker leaves and the guest runs on. The
 * process itself is ended by the caller.
 */
export async function superviseVm(deps: SuperviseDeps, vm: Supervised): Promise<LaunchEnd | "left"> {
  const { qemu, stop, stalled } = vm;
  const over = new AbortController();
  const noted = noteRunning(deps, vm.launch);
  const ttl = fireTtl(deps, vm, over.signal);
  const ready = becomeReady(deps, vm, over.signal);
  const stopped = aborted(stop.signal, "stop");
  const left = aborted(deps.leaving, "left");
  try {
    // Not one promise for all VMs: it would keep what waits for it as long as the worker lives.
    const failed = ready.then(() => new Promise<never>(() => undefined)); // a probe that answered ends nothing; a refused move ends the launch
    const full = stalled.watch(qemu, over.signal);
    const first = await Promise.race([qemu.ended, stopped.happened, left.happened, full, failed]);
    if (first === "left") return "left";
    if (first instanceof LaunchFailure) return { kind: "failure", cause: first.failure };
    if (first !== "stop") return await endOf(deps, vm, first);
    return await Promise.race([stopVm(deps, vm), left.happened]);
  } finally {
    over.abort();
    stopped.release();
    left.release();
    await Promise.allSettled([ttl, ready, noted]);
  }
}

/** When the guest began to run is on disk as well, for a Redis that forgets it. Without it the VM runs on all the same. */
async function noteRunning(deps: SuperviseDeps, launch: Launch): Promise<void> {
  if (launch.record.state === "running") return; // adopted: it stands there already
  try {
    await saveLaunch(deps, launch, { state: "running", deadlineAtMs: launch.deadlineAtMs ?? null });
  } catch (error) {
    deps.logger.warn(
      { err: error, vmId: launch.identity.vmId },
      "what is known of a running VM did not reach the disk",
    );
  }
}

async function stopVm(deps: SuperviseDeps, vm: Supervised): Promise<LaunchEnd> {
  const { launch, qemu, stop } = vm;
  const reason: StopReason = stop.reason ?? "released";
  const { host, epoch } = launch.identity;
  if (reason === "superseded") {
    await qemu.stop({ bounds: { ...deps.config.stop, powerdownMs: 0 }, forced: stop.forced });
    return { kind: "stopped", reason };
  }
  await deps.failPoints.reach("L11-stopping", launch.spec.name);
  const noted = noteStop(deps, launch, reason);
  // Nor does stopping wait for Redis. A refusal means that the launch does not count any more: stopping is right then.
  const published =
    launch.state === "stopping"
      ? Promise.resolve()
      : moveVm(deps, vm, {
          to: "stopping",
          event: { type: "vm.stopping", data: { host, epoch, reason } },
          progress: { reason },
        }).catch((error) =>
          deps.logger.warn({ err: error, vmId: launch.identity.vmId }, "the record could not be moved to stopping"),
        );
  await inSpan(vm.trace.stopping(), () => qemu.stop({ bounds: deps.config.stop, forced: stop.forced }));
  await Promise.all([published, noted]);
  return stopEnd(launch, reason);
}

/** What a stop that was asked for makes of the launch. */
export function stopEnd(launch: Launch, reason: StopReason): LaunchEnd {
  if (reason !== "boot_timeout") return { kind: "stopped", reason };
  return {
    kind: "failure",
    cause: { code: "boot_timeout", message: `not up within ${launch.spec.bootTimeout ?? "the boot deadline"}` },
  };
}

/** Reasons that no removal mark holds are on disk, so that a next worker goes on with the same stop. */
async function noteStop(deps: SuperviseDeps, launch: Launch, reason: StopReason): Promise<void> {
  if (reason !== "released" && reason !== "boot_timeout") return;
  await saveLaunch(deps, launch, { stopReason: reason }).catch((error) =>
    deps.logger.warn({ err: error, vmId: launch.identity.vmId }, "why a VM is stopped did not reach the disk"),
  );
}

/** The host's fault, not the VM's: no attempt is used. */
export const GUARDED: LaunchEnd = {
  kind: "failure",
  cause: { code: "host_lost", message: "the worker was silent for too long, so the guard ended the VM" },
};

/** A guest that ended itself is no failure; everything else has a cause, for which QEMU's own output is looked at. */
async function endOf(
  { machine, files }: SuperviseDeps,
  { launch, mask }: Supervised,
  end: QemuEnd,
): Promise<LaunchEnd> {
  if (end.kind === "exited" && (await files.wasGuarded(launch.paths).catch(() => false))) return GUARDED;
  // Only an exit is explained by what QEMU printed.
  const output = end.kind === "exited" ? await qemuOutput(machine, launch.paths) : "";
  return launchEndOf(end, output, mask);
}

/** What QEMU printed. A file that cannot be read must not turn a good end into a failure. */
export async function qemuOutput(machine: Pick<Machine, "readOutputs">, paths: VmPaths): Promise<string> {
  return machine.readOutputs(paths).then(
    (read) => read.qemu,
    () => "",
  );
}

export function launchEndOf(end: QemuEnd, output: string, mask: (text: string) => string): LaunchEnd {
  const cause = causeOfEnd(end, output, mask);
  if (cause !== undefined) {
    const exit = end.kind === "exited" ? { exitCode: end.exitCode, signal: end.signal } : undefined;
    return { kind: "failure", cause, exit };
  }
  return { kind: "guest_ended", reason: end.kind === "guest-reset" ? "guest_reset" : "guest_shutdown" };
}

async function becomeReady(deps: SuperviseDeps, vm: Supervised, over: AbortSignal): Promise<void> {
  const { launch, stop, watch, onBooted } = vm;
  const { probe = { type: "none" } } = launch.spec;
  if (probe.type === "none" || launch.state !== "running") return onBooted(); // ready already, or being stopped
  // Bounded by the boot deadline, where there is one, and by the end of the VM: both come as aborts.
  const ended = linkSignals([over, stop.signal]);
  const wait = { timeoutMs: TIMER_MAX_MS, signal: ended.signal };
  const target = { host: deps.forwardBind ?? "127.0.0.1", port: launch.port ?? 0 };
  try {
    // One wait ends after 24 days, which is no deadline that anybody has set.
    while (!(await (watch === undefined ? waitForTcpBytes(target, wait) : watch.wait(wait)).then(isThere, isLate))) {
      if (ended.signal.aborted) break;
    }
    onBooted();
    const { host, epoch } = launch.identity;
    const readyAtMs = deps.clock.nowMs();
    const readyMs = readyAtMs - (launch.record.runningAtMs ?? readyAtMs);
    await moveVm(deps, vm, {
      to: "ready",
      fields: { readyAtMs: String(readyAtMs) },
      event: { type: "vm.ready", data: { host, epoch, readyMs } },
      progress: { address: `${deps.address}:${launch.port}`, readyMs },
    });
    vm.trace.noteReady(readyAtMs - readyMs);
  } catch (error) {
    if (over.aborted || stop.signal.aborted) return; // the VM ended or is being stopped before it was ready
    throw error;
  } finally {
    ended.release();
  }
}

const isThere = () => true;

/** False for a wait whose time is up; any other error is thrown. */
function isLate(error: unknown): false {
  if (error instanceof LaunchFailure && error.failure.code === "boot_timeout") return false;
  throw error;
}

/** The TTL is an absolute deadline, kept across launches. The removal mark that it writes stops the VM. */
async function fireTtl({ store, clock, logger }: SuperviseDeps, { launch, stop }: InHand, over: AbortSignal) {
  if (launch.spec.ttl === undefined) return;
  const { vmId } = launch.identity;
  const deadlineAtMs = launch.deadlineAtMs ?? clock.nowMs() + parseGoDurationMs(launch.spec.ttl);
  while (!over.aborted) {
    const leftMs = deadlineAtMs - clock.nowMs();
    if (leftMs <= 0) {
      try {
        const { kind } = await store.requestRemoval({ vmId, reason: "ttl", by: "drover" });
        // By Redis's clock, which all hosts share. A record that Redis has lost comes back by REASSERT, deadline included.
        if (kind !== "not_due" && kind !== "not_found") return stop.ask("ttl");
      } catch (error) {
        logger.warn({ err: error, vmId }, "the end of a VM's time could not be written; it is tried again");
      }
    }
    // The machine's clock may jump while we wait: long waits are looked at again in between.
    const waitMs = leftMs > 0 ? Math.min(leftMs, TTL_LOOK_MS) : TTL_RETRY_MS;
    await clock.pause(waitMs, over).catch(() => undefined); // over: the loop ends
  }
}

const TTL_LOOK_MS = 60_000;

/** Settles once the signal is aborted; `release` lets go of it. */
function aborted<const T extends string>(
  signal: AbortSignal,
  value: T,
): { readonly happened: Promise<T>; release(): void } {
  let report: () => void = () => undefined;
  const happened = new Promise<T>((resolve) => {
    report = () => resolve(value);
  });
  if (signal.aborted) report();
  else signal.addEventListener("abort", report, { once: true });
  return { happened, release: () => signal.removeEventListener("abort", report) };
}
