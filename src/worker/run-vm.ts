import type { Logger } from "pino";
import { LaunchFailure } from "../contract/causes.ts";
import { parseGoDurationMs } from "../contract/go-duration.ts";
import { decodeFileBytes, type VmSecrets } from "../contract/vm-request.ts";
import { ConsoleWatch } from "../qemu/console-watch.ts";
import { findByUuid } from "../qemu/process-scan.ts";
import type { RingChunk } from "../qemu/ring-reader.ts";
import type { RunningQemu } from "../qemu/running-qemu.ts";
import { readOutputs, type VmOutputs } from "../qemu/vm-outputs.ts";
import type { LiveConsole } from "../queue/live-console.ts";
import { endProcess } from "../runtime/end-process.ts";
import { openSealed } from "../runtime/sealing.ts";
import type { SecretKeys } from "../runtime/secret-keys.ts";
import type { BootGate } from "./boot-gate.ts";
import { ConsolePublisher } from "./console-publisher.ts";
import type { LaunchEnd } from "./end-plan.ts";
import { type EndDeps, finishEnd, toLaunchEnd, writeEndPlan } from "./end-vm.ts";
import type { Launch } from "./launch.ts";
import { launchQemu, type QemuLaunchDeps } from "./launch-qemu.ts";
import { persistently } from "./persistently.ts";
import { SecretMask } from "./secret-mask.ts";
import type { StopRequest } from "./stop-request.ts";
import { type SuperviseDeps, superviseVm } from "./supervise-vm.ts";

/** How long one guest may keep a boot place when it has no boot deadline of its own. */
const BOOT_PLACE_MAX_MS = 60_000;
const TERM_MS = 2_000;

export interface RunVmDeps extends EndDeps, QemuLaunchDeps, SuperviseDeps {
  readonly secretKeys: SecretKeys | undefined;
  readonly console: LiveConsole;
  readonly boots: BootGate;
  /** Aborted when a stop of the worker has taken too long: what is not finished is finished by its next start. */
  readonly giveUp: AbortSignal;
  readonly logger: Logger;
}

/**
 * The story of one launch: secrets, files, QEMU, supervision, end. Whatever happens in it, the launch is ended in the
 * same way, and nothing of it is left on this host. Rejects only when the end itself cannot be written.
 */
export async function runVm(deps: RunVmDeps, launch: Launch, stop: StopRequest): Promise<void> {
  const hand: LaunchInHand = { qemu: undefined, publisher: undefined, mask: new SecretMask([]) };
  let end: LaunchEnd;
  try {
    end = await launchAndSupervise(deps, launch, stop, hand);
  } catch (error) {
    end = endOfStop(stop, launch) ?? toLaunchEnd(error);
    if (end.kind === "failure" && end.cause.code === "internal")
      deps.logger.error({ err: error, vmId: launch.identity.vmId }, "a launch failed in an unforeseen way");
  }
  await endLaunch(deps, launch, hand, end);
}

/** What has to be given back, filled as the launch goes on. */
interface LaunchInHand {
  qemu: RunningQemu | undefined;
  publisher: ConsolePublisher | undefined;
  mask: SecretMask;
}

async function launchAndSupervise(
  deps: RunVmDeps,
  launch: Launch,
  stop: StopRequest,
  hand: LaunchInHand,
): Promise<LaunchEnd> {
  const { identity } = launch;
  if (launch.problem !== undefined) throw new LaunchFailure("spec_invalid", launch.problem);
  const living = findByUuid(identity.vmId)[0];
  if (living !== undefined)
    throw new LaunchFailure("internal", `process ${living.pid} of this VM still lives on the host`);
  const leaveGate = await deps.boots.enter(stop.signal);
  const longEnough = setTimeout(leaveGate, BOOT_PLACE_MAX_MS); // a guest that is never ready must not block the others
  const bootLimit = limitBoot(deps, launch, stop); // from here on: waiting for a place is not the guest's fault
  try {
    const secrets = await openSecrets(deps, launch);
    const mask = new SecretMask(secretTexts(secrets));
    const publisher = new ConsolePublisher({
      console: deps.console,
      vmId: identity.vmId,
      token: identity.token,
      logger: deps.logger,
    });
    Object.assign(hand, { mask, publisher });
    const { probe } = launch.spec;
    const watch = probe?.type === "console" ? new ConsoleWatch(probe.text) : undefined;
    const onConsole = (chunk: RingChunk) => {
      watch?.feed(chunk);
      publisher.push(mask.push(chunk.bytes, { afterGap: chunk.skipped }), chunk.skipped ? 1 : 0); // how much is missing, nobody knows
    };
    const qemu = await launchQemu(deps, { launch, secrets, mask, stop, onConsole });
    hand.qemu = qemu;
    const onBooted = () => {
      bootLimit.clear();
      leaveGate();
    };
    return await superviseVm(deps, { launch, qemu, stop, watch, mask: (text) => mask.maskText(text), onBooted });
  } finally {
    clearTimeout(longEnough);
    bootLimit.clear();
    leaveGate();
  }
}

/**
 * The plan is on disk before QEMU is ended; after a stop that was asked for it is gone already, and the removal mark
 * (or the way back into the queue) says the same as the plan does.
 */
async function endLaunch(deps: RunVmDeps, launch: Launch, hand: LaunchInHand, end: LaunchEnd): Promise<void> {
  const { qemu } = hand;
  const { vmId } = launch.identity;
  const persist = { vmId, logger: deps.logger, giveUp: deps.giveUp };
  const outputs = maskOutputs(hand.mask, await lastOutputs(launch, qemu));
  const plan = await persistently({ ...persist, what: "writing down how a VM ended" }, () =>
    writeEndPlan(deps, launch, end, outputs),
  );
  // Until the process is proved dead nothing of the VM may be given away, however long that takes.
  await persistently({ ...persist, what: "ending QEMU" }, async () => {
    await qemu?.stop({ bounds: { ...deps.config.stop, powerdownMs: 0 } });
    // A start that failed while QEMU could not be killed has left it to us.
    if (qemu === undefined) for (const living of findByUuid(vmId)) await endProcess(living, { termMs: TERM_MS });
  });
  hand.publisher?.close();
  await persistently({ ...persist, what: "finishing the end of a VM" }, () => finishEnd(deps, launch, plan));
}

/** Drained from QEMU while it still answers; else what stands in the files. */
async function lastOutputs(launch: Launch, qemu: RunningQemu | undefined): Promise<VmOutputs> {
  try {
    return await (qemu === undefined ? readOutputs(launch.paths) : qemu.drainOutputs());
  } catch {
    return { console: "", qemu: "", result: Buffer.alloc(0) }; // the end itself is worth more than its last lines
  }
}

function maskOutputs(secrets: SecretMask, outputs: VmOutputs): VmOutputs {
  return { ...outputs, console: secrets.maskText(outputs.console), qemu: secrets.maskText(outputs.qemu) };
}

/** A stop that was asked for explains whatever failed after it. */
function endOfStop(stop: StopRequest, launch: Launch): LaunchEnd | undefined {
  if (stop.reason === undefined) return undefined;
  if (stop.reason !== "boot_timeout") return { kind: "stopped", reason: stop.reason };
  return {
    kind: "failure",
    cause: { code: "boot_timeout", message: `not up within ${launch.spec.bootTimeout ?? "the boot deadline"}` },
  };
}

async function openSecrets({ launches, secretKeys }: RunVmDeps, launch: Launch): Promise<VmSecrets> {
  const { identity, owner, hasSecrets } = launch;
  if (!hasSecrets) return {};
  const sealed = await launches.sealedSecrets(identity.vmId);
  if (sealed === undefined) throw new LaunchFailure("secret_unreadable", "the sealed secrets are gone from Redis");
  return openSealed(secretKeys, { owner, vmId: identity.vmId }, sealed);
}

/** Every form in which a secret could be printed: as it was sent, and as the file that the guest finds. */
function secretTexts(secrets: VmSecrets): readonly string[] {
  const sent = Object.values(secrets).filter((value) => value !== undefined);
  const { agentCvmClientKey: key } = secrets;
  return key === undefined ? sent : [...sent, decodeFileBytes(key).toString("utf8")];
}

interface BootLimit {
  clear(): void;
}

function limitBoot({ config }: RunVmDeps, launch: Launch, stop: StopRequest): BootLimit {
  const { bootTimeout } = launch.spec;
  const limitMs = bootTimeout === undefined ? config.launch.bootTimeoutMs : parseGoDurationMs(bootTimeout);
  if (limitMs <= 0) return { clear: () => undefined };
  const timer = setTimeout(() => stop.ask("boot_timeout", { force: true }), Math.min(limitMs, 2 ** 31 - 1));
  return { clear: () => clearTimeout(timer) };
}
