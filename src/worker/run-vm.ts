import type { Logger } from "pino";
import { LaunchFailure } from "../contract/causes.ts";
import { parseGoDurationMs } from "../contract/go-duration.ts";
import type { VmOutputs } from "../qemu/vm-outputs.ts";
import type { SpanEnd } from "../runtime/tracing/tracer.ts";
import type { BootGate } from "./boot-gate.ts";
import type { LaunchEnd } from "./end-plan.ts";
import { type EndDeps, finishEnd, toLaunchEnd, writeEndPlan } from "./end-vm.ts";
import type { Launch } from "./launch.ts";
import { launchQemu, type QemuLaunchDeps } from "./launch-qemu.ts";
import { type InHand, saveLaunch, whenPossible } from "./move-vm.ts";
import { persistently } from "./persistently.ts";
import type { StopRequest } from "./stop-request.ts";
import { GUARDED, type SuperviseDeps, stopEnd, superviseVm } from "./supervise-vm.ts";
import { type HandDeps, openSecrets, VmHand } from "./vm-hand.ts";

/** How long one guest may keep a boot place when it has no boot deadline of its own. */
const BOOT_PLACE_MAX_MS = 60_000;
const TERM_MS = 2_000;

export interface RunVmDeps extends EndDeps, QemuLaunchDeps, SuperviseDeps, HandDeps {
  readonly boots: BootGate;
  /** How many confidential VMs the hardware has keys for; undefined: nobody knows. */
  readonly teeKeys?: number | undefined;
  /** Aborted when a stop of the worker has taken too long: what is not finished is finished by its next start. */
  readonly giveUp: AbortSignal;
  readonly logger: Logger;
}

/**
 * The story of one launch: secrets, files, QEMU, supervision, end. Whatever happens in it, the launch is ended in the
 * same way, and nothing of it is left on this host; or the worker leaves, and the guest runs on untouched. Rejects only
 * when the end itself cannot be written.
 */
export async function runVm(deps: RunVmDeps, launch: Launch, stop: StopRequest): Promise<void> {
  const hand = new VmHand(deps, launch);
  await toItsEnd(deps, { launch, stop }, hand, () => launchAndSupervise(deps, launch, stop, hand));
}

/** Goes through a part of a launch's story and then ends the launch, unless the worker leaves it to the next one. */
export async function toItsEnd(
  deps: RunVmDeps,
  { launch, stop }: InHand,
  hand: VmHand,
  story: () => Promise<LaunchEnd | "left">,
): Promise<void> {
  let end: LaunchEnd | "left";
  try {
    end = await story();
  } catch (error) {
    if (stop.reason !== undefined) end = stopEnd(launch, stop.reason);
    else end = (await deps.files.wasGuarded(launch.paths).catch(() => false)) ? GUARDED : toLaunchEnd(error);
    if (end.kind === "failure" && end.cause.code === "internal")
      deps.logger.error({ err: error, vmId: launch.identity.vmId }, "a launch failed in an unforeseen way");
  }
  hand.trace.end(end === "left" ? {} : failureOf(end)); // whatever was under way
  if (end === "left") {
    hand.close();
    await hand.qemu?.detach();
    return;
  }
  await endLaunch(deps, launch, hand, end);
}

async function launchAndSupervise(
  deps: RunVmDeps,
  launch: Launch,
  stop: StopRequest,
  hand: VmHand,
): Promise<LaunchEnd | "left"> {
  const { identity } = launch;
  hand.trace.beginLaunch();
  if (launch.problem !== undefined) throw new LaunchFailure("spec_invalid", launch.problem);
  const living = deps.machine.livingOf(identity.vmId)[0];
  if (living !== undefined)
    throw new LaunchFailure("internal", `process ${living.pid} of this VM still lives on the host`);
  hand.trace.phase("wait_for_boot_place");
  const leaveGate = await enterGate(deps, launch, stop);
  // A guest that is never ready must not block the others.
  const longEnough = after(deps, BOOT_PLACE_MAX_MS, leaveGate);
  const bootLimit = limitBoot(deps, launch, stop); // from here on: waiting for a place is not the guest's fault
  try {
    hand.trace.phase("open_secrets");
    const secrets = await whenPossible(deps, stop, () => openSecrets(deps, launch));
    hand.maskBy(secrets);
    const { mask, trace, onConsole, stalled } = hand;
    const onObservation = observer(deps, launch, stalled);
    hand.qemu = await launchQemu(deps, { launch, secrets, mask, trace, stop, onConsole, onObservation });
    trace.end();
    deps.breaker.noteRunning();
    const onBooted = () => {
      bootLimit.abort();
      leaveGate();
    };
    const { qemu, watch, maskText } = hand;
    return await superviseVm(deps, { launch, qemu, stop, trace, watch, stalled, mask: maskText, onBooted });
  } finally {
    longEnough.abort();
    bootLimit.abort();
    leaveGate();
  }
}

/**
 * A VM in whose launches workers have died boots alone, which is on disk before it does: if this worker dies as well,
 * the VM is the one that counts as its death's cause, and not whoever waited beside it.
 */
async function enterGate(deps: RunVmDeps, launch: Launch, stop: StopRequest): Promise<() => void> {
  if (launch.crashes.length === 0) return deps.boots.enter(stop.signal);
  const leave = await deps.boots.enter(stop.signal, "alone");
  try {
    await saveLaunch(deps, launch, { bootsAlone: true });
    return leave;
  } catch (error) {
    leave();
    throw error;
  }
}

/** Everything that is seen of a VM and does not end it goes to the log. */
export function observer({ logger }: { logger: Logger }, { identity }: Launch, stalled: VmHand["stalled"]) {
  return (seen: Parameters<VmHand["stalled"]["note"]>[0]): void => {
    logger.info({ vmId: identity.vmId, seen }, "seen of a VM");
    stalled.note(seen);
  };
}

/**
 * The plan is on disk before QEMU is ended; after a stop that was asked for it is gone already, and the removal mark
 * (or the way back into the queue) says the same as the plan does.
 */
async function endLaunch(deps: RunVmDeps, launch: Launch, hand: VmHand, end: LaunchEnd): Promise<void> {
  const { machine, failPoints } = deps;
  const { vmId, epoch } = launch.identity;
  const persist = { vmId, clock: deps.clock, logger: deps.logger, giveUp: deps.giveUp };
  const { trace } = hand;
  trace.begin("end");
  trace.phase("write_plan");
  const outputs = hand.masked(await lastOutputs(deps, launch, hand));
  const plan = await persistently({ ...persist, what: "writing down how a VM ended" }, () =>
    writeEndPlan(deps, launch, end, outputs),
  );
  await failPoints.reach("L12a-planned", launch.spec.name);
  trace.phase("end_process");
  // Until the process is proved dead nothing of the VM may be given away, however long that takes.
  await persistently({ ...persist, what: "ending QEMU" }, async () => {
    await hand.qemu?.stop({ bounds: { ...deps.config.stop, powerdownMs: 0 } });
    if (hand.qemu !== undefined) return;
    // A start that failed while QEMU could not be killed has left it to us; a later launch's is not ours to end.
    for (const living of machine.livingOf(vmId)) if (living.epoch <= epoch) await machine.end(living, TERM_MS);
  });
  await failPoints.reach("L12b-dead", launch.spec.name);
  hand.close();
  trace.phase("settle");
  await persistently({ ...persist, what: "finishing the end of a VM" }, () => finishEnd(deps, launch, plan));
  trace.end({}, { outcome: plan.outcome, cause: plan.cause?.code });
}

function failureOf(end: LaunchEnd): SpanEnd {
  return end.kind === "failure" ? { error: end.cause.code } : {};
}

/** Drained from QEMU while it still answers; else what stands in the files. */
async function lastOutputs({ machine }: RunVmDeps, launch: Launch, { qemu }: VmHand): Promise<VmOutputs> {
  try {
    return await (qemu === undefined ? machine.readOutputs(launch.paths) : qemu.drainOutputs());
  } catch {
    return { console: "", qemu: "", result: Buffer.alloc(0) }; // the end itself is worth more than its last lines
  }
}

/** Stops a launch that is not up in time. Abort what is returned when it is. */
export function limitBoot(deps: RunVmDeps, launch: Launch, stop: StopRequest): AbortController {
  const { bootTimeout } = launch.spec;
  const limitMs = bootTimeout === undefined ? deps.config.launch.bootTimeoutMs : parseGoDurationMs(bootTimeout);
  if (limitMs <= 0) return new AbortController();
  return after(deps, limitMs, () => stop.ask("boot_timeout", { force: true }));
}

function after({ clock }: Pick<RunVmDeps, "clock">, ms: number, act: () => void): AbortController {
  const cancelled = new AbortController();
  void clock.pause(Math.min(ms, 2 ** 31 - 1), cancelled.signal).then(act, () => undefined); // cancelled: nothing to do
  return cancelled;
}
