import { LaunchFailure } from "../contract/causes.ts";
import { AttachFailure } from "../qemu/attach-qemu.ts";
import type { RemovalMark } from "../queue/launch-moves.ts";
import type { ProcessIdentity } from "../runtime/process-identity.ts";
import type { LaunchEnd } from "./end-plan.ts";
import type { Launch } from "./launch.ts";
import { ringsOf } from "./launch-qemu.ts";
import type { LiveQemu } from "./machine.ts";
import type { InHand } from "./move-vm.ts";
import { limitBoot, observer, type RunVmDeps, toItsEnd } from "./run-vm.ts";
import type { StopRequest } from "./stop-request.ts";
import { launchEndOf, qemuOutput, stopEnd, superviseVm } from "./supervise-vm.ts";
import { openSecrets, VmHand } from "./vm-hand.ts";

/** A QEMU that hangs, or that somebody else's monitor holds, is asked again this often; so is a Redis that refuses. */
const BUSY_PAUSE_MS = 1_000;
/** What QEMU prints when a signal ends it. */
const TOLD_TO_END = /terminating on signal \d+/;

/** A launch of the worker before this one whose QEMU lives, claimed for this one. */
export interface Leftover {
  readonly launch: Launch;
  readonly process: ProcessIdentity;
  readonly mark: RemovalMark | undefined;
}

/**
 * Takes a live QEMU over and goes on as if nothing had happened: time limit, readiness, console, stop and result. A
 * guest that ended while nobody watched is settled as it ended. A QEMU that does not answer keeps its slot and is asked
 * again; it is never killed for that.
 */
export async function adoptVm(deps: RunVmDeps, { launch, process, mark }: Leftover, stop: StopRequest): Promise<void> {
  const hand = new VmHand(deps, launch);
  if (mark !== undefined) stop.ask(mark.reason, { force: mark.force });
  else if (launch.record.stopReason !== null) stop.ask(launch.record.stopReason, { force: true });
  // Its stop was published and did not reach the disk: nothing leads back from there but its end, at no cost to the VM.
  else if (launch.state === "stopping") stop.ask("released", { force: true });
  await toItsEnd(deps, { launch, stop }, hand, () => attachAndSupervise(deps, { launch, process, stop }, hand));
}

/** Ends a launch of which nothing lives any more, or nothing that is worth keeping. */
export async function endLeftover(deps: RunVmDeps, launch: Launch, stop: StopRequest, end: LaunchEnd): Promise<void> {
  const hand = new VmHand(deps, launch);
  await toItsEnd(deps, { launch, stop }, hand, async () => {
    await knowSecrets(deps, { launch, stop }, hand);
    return end;
  });
}

async function attachAndSupervise(
  deps: RunVmDeps,
  { launch, process, stop }: { launch: Launch; process: ProcessIdentity; stop: StopRequest },
  hand: VmHand,
): Promise<LaunchEnd | "left"> {
  const { identity, paths } = launch;
  await knowSecrets(deps, { launch, stop }, hand);
  if (hand.watch !== undefined) {
    // Unreadable, it hides a text that has been shown already: the VM is not said to be ready, and lives.
    const { console } = await deps.machine.readOutputs(paths).catch(() => ({ console: "" }));
    hand.watch.feed({ bytes: Buffer.from(console), skipped: false });
  }
  hand.trace.begin("adopt");
  hand.trace.phase("attach");
  const qemu = await attachPatiently(deps, { launch, process, stop }, hand);
  if (qemu === "left") return "left";
  if (qemu === "stopped") return stopEnd(launch, stop.reason ?? "released");
  if (qemu === "gone") return vanished(await qemuOutput(deps.machine, paths), hand.maskText);
  hand.qemu = qemu;
  deps.logger.info({ vmId: identity.vmId, epoch: identity.epoch, pid: process.pid }, "took over a running VM");
  await deps.files.forgetGuarded(paths).catch(() => undefined); // a disk that takes nothing: the note tells only of the dead
  await noteAdopted(deps, launch, process);
  hand.trace.end();
  await deps.failPoints.reach("A2-attached", launch.spec.name);
  const bootLimit = launch.state === "running" && isProbed(launch) ? limitBoot(deps, launch, stop) : undefined;
  try {
    const { trace, watch, stalled, maskText } = hand;
    const onBooted = () => bootLimit?.abort();
    return await superviseVm(deps, { launch, qemu, stop, trace, watch, stalled, mask: maskText, onBooted });
  } finally {
    bootLimit?.abort();
  }
}

/** What a QEMU that died unseen is called: the host ended it by a signal, or nobody knows. */
export function vanished(output: string, mask: (text: string) => string): LaunchEnd {
  const told = output.split("\n").find((line) => TOLD_TO_END.test(line));
  if (told !== undefined)
    return { kind: "failure", cause: { code: "host_shutdown", message: mask(told).slice(0, 500) } };
  return launchEndOf({ kind: "exited", exitCode: null, signal: null, reason: null }, output, mask);
}

async function attachPatiently(
  deps: RunVmDeps,
  { launch, process, stop }: { launch: Launch; process: ProcessIdentity; stop: StopRequest },
  hand: VmHand,
): Promise<LiveQemu | "gone" | "stopped" | "left"> {
  const { config, machine, clock, leaving, logger } = deps;
  const { vmId } = launch.identity;
  for (let tries = 0; ; tries++) {
    try {
      return await machine.attach({
        ...process,
        bootId: launch.record.bootId,
        vmId,
        paths: launch.paths,
        rings: ringsOf(launch),
        qmpTimeoutMs: config.launch.qmpTimeoutMs,
        signal: leaving,
        onConsole: hand.onConsole,
        onObservation: observer(deps, launch, hand.stalled),
      });
    } catch (error) {
      if (leaving.aborted) return "left";
      // Whatever else keeps us from attaching (no descriptor is left, say) tells nothing about the VM either.
      if (error instanceof AttachFailure && error.reason !== "busy") return "gone";
      if (stop.signal.aborted) return "stopped"; // its process is ended by signals then
      if (tries === 0) logger.error({ vmId, err: error }, "QEMU lives and does not answer; it keeps its place");
      await clock.pause(BUSY_PAUSE_MS, stop.signal).catch(() => undefined); // stopped: one last try to ask it nicely
    }
  }
}

/**
 * Without them nobody can tell what to mask, and no output is shown; the VM itself runs on. A Redis that refuses to
 * answer is asked again.
 */
async function knowSecrets(deps: RunVmDeps, { launch, stop }: InHand, hand: VmHand): Promise<void> {
  const { clock, leaving, giveUp, logger } = deps;
  const { vmId } = launch.identity;
  for (;;) {
    try {
      return hand.maskBy(await openSecrets(deps, launch));
    } catch (error) {
      const isOver = stop.signal.aborted || leaving.aborted || giveUp.aborted;
      if (error instanceof LaunchFailure || isOver) {
        logger.warn({ vmId, err: error }, "the output of a VM is withheld from now on");
        return hand.withholdOutput();
      }
      await clock.pause(BUSY_PAUSE_MS, stop.signal).catch(() => undefined); // stopped: one last try
    }
  }
}

async function noteAdopted(deps: RunVmDeps, { identity, port }: Launch, { pid }: ProcessIdentity): Promise<void> {
  const { host, epoch } = identity;
  const event = { type: "vm.adopted", data: { host, epoch, port: port ?? null, pid } } as const;
  await deps.ownership
    .note(identity, event)
    .catch((error) => deps.logger.warn({ err: error, vmId: identity.vmId }, "an adoption was not written down"));
}

function isProbed({ spec }: Launch): boolean {
  return spec.probe !== undefined && spec.probe.type !== "none";
}
