import type { Logger } from "pino";
import { LaunchFailure } from "../contract/causes.ts";
import { parseGoDurationMs } from "../contract/go-duration.ts";
import type { Tee } from "../contract/qemu-config.ts";
import type { VmSecrets } from "../contract/vm-request.ts";
import type { OperatorPaths } from "../qemu/failure-patterns.ts";
import type { RingChunk } from "../qemu/ring-reader.ts";
import { maskCommand, shellLine } from "../qemu/shell-quote.ts";
import type { QemuObservation } from "../qemu/supervision.ts";
import { vmCommand } from "../qemu/vm-command.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { FailPoints } from "./fail-points.ts";
import type { GpuSlot } from "./gpu-slot.ts";
import type { Launch } from "./launch.ts";
import type { LaunchAttestor } from "./launch-attestor.ts";
import type { LaunchFiles } from "./launch-files.ts";
import type { LaunchTrace } from "./launch-trace.ts";
import type { LiveQemu, Machine } from "./machine.ts";
import type { MemoryRoom } from "./memory-room.ts";
import { type MoveDeps, moveVm, saveLaunch, whenPossible } from "./move-vm.ts";
import type { SecretMask } from "./secret-mask.ts";
import { assertStillOurs, type StillOursDeps } from "./still-ours.ts";
import type { StopRequest } from "./stop-request.ts";
import { assertServed, vmTee } from "./vm-hardware.ts";

/** More foreign listeners than this in one launch are no accident of timing; the VM goes back to the queue. */
const PORT_TRIES_MAX = 16;

export interface QemuLaunchDeps extends MoveDeps, StillOursDeps {
  readonly config: Config;
  readonly machine: Machine;
  readonly files: LaunchFiles;
  readonly failPoints: FailPoints;
  readonly logger: Logger;
  readonly tee: Tee;
  readonly gpu: Pick<GpuSlot, "freeFor" | "setAside">;
  readonly memory: MemoryRoom;
  /** Undefined where VMs of this host have no TEE. */
  readonly attestor?: Pick<LaunchAttestor, "attest" | "hostData"> | undefined;
  readonly forwardBind: string | undefined;
  /** Under which address clients reach this host. */
  readonly address: string;
}

/** What is to be started, and who hears of it. */
export interface QemuOrder {
  readonly launch: Launch;
  readonly secrets: VmSecrets;
  readonly mask: SecretMask;
  readonly trace: LaunchTrace;
  readonly stop: StopRequest;
  readonly onConsole: (chunk: RingChunk) => void;
  readonly onObservation: (seen: QemuObservation) => void;
}

/** Makes the files, starts QEMU and brings the VM to `running`. Leaves no process behind when it fails or is stopped. */
export async function launchQemu(deps: QemuLaunchDeps, order: QemuOrder): Promise<LiveQemu> {
  const { launch, stop } = order;
  const memory = deps.memory.sizeOf(launch.spec);
  assertServed(launch.spec, { tee: vmTee(launch.spec, deps.tee), gpu: launch.gpu, memory });
  const attesting = attestorOf(deps, launch)?.attest(launch, stop.signal);
  attesting?.catch(() => undefined); // it is awaited once the files are made, and only then
  order.trace.phase("make_files");
  await makeFiles(deps, order);
  const attestation = await attesting;
  launch.attestation = attestation === undefined ? undefined : JSON.stringify(attestation);
  for (let tries = 0; tries < PORT_TRIES_MAX; tries++) {
    stop.signal.throwIfAborted();
    if (!(await deps.machine.isPortFree(deps.forwardBind ?? "", portOf(launch)))) {
      await whenPossible(deps, stop, () => changePort(deps, launch));
      continue;
    }
    try {
      return await startOnPort(deps, order);
    } catch (error) {
      if (!(error instanceof LaunchFailure)) throw error;
      if (error.failure.code === "gpu_busy") deps.gpu.setAside();
      if (error.failure.code !== "port_taken") throw error;
      await whenPossible(deps, stop, () => changePort(deps, launch));
    }
  }
  throw new LaunchFailure("ports_exhausted", `${PORT_TRIES_MAX} ports in a row were held by other processes`);
}

/** Rejects only when nothing is being made any more: what came later would outlive the launch. */
async function makeFiles(deps: QemuLaunchDeps, { launch, secrets, stop }: QemuOrder): Promise<void> {
  const { config, machine, tee, failPoints } = deps;
  const { identity, spec, paths } = launch;
  await failPoints.reach("L5-secrets", spec.name);
  await machine.makeGuest({
    paths,
    vmId: identity.vmId,
    spec,
    secrets,
    signal: stop.signal,
    firmwareVars: vmTee(spec, tee).kind === "none" && config.firmware === "ovmf",
  });
  await failPoints.reach("L6-guest-files", spec.name);
}

async function startOnPort(deps: QemuLaunchDeps, order: QemuOrder): Promise<LiveQemu> {
  const { launch, secrets, mask, trace, stop, onConsole, onObservation } = order;
  const { config, machine, failPoints, clock, logger } = deps;
  const { identity, paths, spec } = launch;
  const port = portOf(launch);
  trace.phase("spawn");
  await assertStillOurs(deps, order);
  const startedMs = clock.monotonicMs();
  const [binPath = "", ...args] = commandLine(deps, launch, secrets);
  launch.command = shellLine(maskCommand([binPath, ...args]));
  logger.info({ vmId: identity.vmId, epoch: identity.epoch, command: launch.command }, "starting QEMU");
  const qemu = await machine.start({
    binPath,
    args,
    paths,
    guestBytes: spec.memoryClass === undefined ? undefined : deps.memory.sizeOf(spec)?.bytes,
    // Relative paths of the operator's (img/bzImage) start where the worker stands, as with Cocos.
    cwd: process.cwd(),
    vmId: identity.vmId,
    rings: ringsOf(launch),
    expectedPort: port,
    qmpTimeoutMs: config.launch.qmpTimeoutMs,
    signal: stop.signal,
    operatorPaths: operatorPaths(config),
    mask: (text) => mask.maskText(text),
    onConsole,
    onObservation,
    onSpawned: async ({ pid, startTimeTicks }) => {
      trace.phase("publish_starting");
      await failPoints.reach("L7-spawned", spec.name);
      await Promise.all([
        saveLaunch(deps, launch, { pid, startTimeTicks, port, state: "starting" }),
        publishStarting(deps, launch, stop, pid),
      ]);
      trace.phase("wait_for_qmp");
      await failPoints.reach("L8-identified", spec.name);
    },
  });
  try {
    trace.phase("publish_running");
    await failPoints.reach("L9-answering", spec.name);
    await publishRunning(deps, order, Math.round(clock.monotonicMs() - startedMs));
    await failPoints.reach("L10-running", spec.name);
    return qemu;
  } catch (error) {
    await qemu.stop({ bounds: { ...config.stop, powerdownMs: 0 } });
    throw error;
  }
}

/** Which ring buffers the command line of the launch has. */
export function ringsOf({ spec }: Launch): { readonly console: boolean; readonly result: boolean } {
  return { console: true, result: spec.result === true };
}

async function publishRunning(deps: QemuLaunchDeps, { launch, stop }: QemuOrder, bootMs: number): Promise<void> {
  const { address, clock } = deps;
  const { host, epoch } = launch.identity;
  const port = portOf(launch);
  const runningAtMs = clock.nowMs();
  const ttl = ttlMs(launch);
  // Before it is published: a Redis that loses this move is told again with them.
  launch.record = { ...launch.record, address, runningAtMs };
  await moveVm(
    deps,
    { launch, stop },
    {
      to: "running",
      fields: { address, runningAtMs: String(runningAtMs), crashes: null },
      event: { type: "vm.running", data: { host, epoch, address, port, bootMs } },
      progress: { address: `${address}:${port}` },
      ttlMs: ttl,
    },
  );
  if (ttl !== undefined) launch.deadlineAtMs ??= runningAtMs + ttl;
}

async function publishStarting(deps: QemuLaunchDeps, launch: Launch, stop: StopRequest, pid: number): Promise<void> {
  const { host, epoch } = launch.identity;
  const port = portOf(launch);
  await moveVm(
    deps,
    { launch, stop },
    {
      to: "starting",
      fields: { command: launch.command ?? null, attestation: launch.attestation ?? null },
      event: { type: "vm.starting", data: { host, epoch, port, pid } },
      progress: { pid },
    },
  );
}

async function changePort({ config, launches, logger }: QemuLaunchDeps, launch: Launch): Promise<void> {
  const port = portOf(launch);
  const changed = await launches.changePort(launch.identity, port, config.launch.portAsideMs);
  launch.port = changed;
  logger.warn({ vmId: launch.identity.vmId, port, next: changed }, "another process holds the port; it is set aside");
  if (changed === undefined)
    throw new LaunchFailure("ports_exhausted", `port ${port} is held by another process and no other is free`);
}

/** The Cocos command line, and drover's own layer visibly behind it; the binary stands first. */
function commandLine(deps: QemuLaunchDeps, launch: Launch, secrets: VmSecrets): readonly string[] {
  const { config, tee, forwardBind } = deps;
  const { identity, spec, paths } = launch;
  const { binPath, cocos, drover } = vmCommand(config, {
    vmId: identity.vmId,
    epoch: identity.epoch,
    hostPort: portOf(launch),
    forwardBind,
    paths,
    tee: vmTee(spec, tee).kind,
    gpu: launch.gpu,
    memorySize: deps.memory.sizeOf(spec)?.size,
    hostData: attestorOf(deps, launch)?.hostData(spec),
    aaKbsParams: secrets.aaKbsParams,
    resultPort: spec.result === true,
    endOnReboot: spec.onReboot === "end",
  });
  return [binPath, ...cocos, ...drover];
}

/** Undefined for a VM without a TEE: it proves nothing. */
function attestorOf({ attestor, tee }: QemuLaunchDeps, { spec }: Launch): QemuLaunchDeps["attestor"] {
  return vmTee(spec, tee).kind === "none" ? undefined : attestor;
}

/** The operator's files, by which a failure tells a missing kernel from a missing firmware. */
function operatorPaths({ qemu }: Config): OperatorPaths {
  return {
    kernel: qemu.kernelFile,
    initrd: qemu.rootFsFile,
    firmware: [qemu.ovmfCode.file, qemu.ovmfVars.file, qemu.tdx.ovmfFile, qemu.igvm.file],
    diskSource: qemu.disk.srcFile,
  };
}

function portOf({ port }: Launch): number {
  if (port === undefined) throw new LaunchFailure("ports_exhausted", "the launch holds no port");
  return port;
}

/** The TTL starts at the first `running`; the script keeps the deadline of an earlier launch. */
function ttlMs({ spec }: Launch): number | undefined {
  return spec.ttl === undefined ? undefined : parseGoDurationMs(spec.ttl);
}
