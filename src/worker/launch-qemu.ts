import type { Logger } from "pino";
import { LaunchFailure } from "../contract/causes.ts";
import { parseGoDurationMs } from "../contract/go-duration.ts";
import type { Tee } from "../contract/qemu-config.ts";
import type { VmSecrets } from "../contract/vm-request.ts";
import type { OperatorPaths } from "../qemu/failure-patterns.ts";
import { copyFirmwareVars } from "../qemu/firmware-vars.ts";
import { writeGuestFiles } from "../qemu/guest-files.ts";
import { isPortFree } from "../qemu/port-check.ts";
import type { RingChunk } from "../qemu/ring-reader.ts";
import type { RunningQemu } from "../qemu/running-qemu.ts";
import { maskCommand, shellLine } from "../qemu/shell-quote.ts";
import type { SpareOverlay } from "../qemu/spare-overlay.ts";
import { startQemu } from "../qemu/start-qemu.ts";
import { vmCommand } from "../qemu/vm-command.ts";
import type { LaunchStore } from "../queue/launch-store.ts";
import type { Config } from "../runtime/config-shape.ts";
import { linkSignals } from "../runtime/link-signals.ts";
import type { Launch } from "./launch.ts";
import { moveVm, saveLaunch } from "./move-vm.ts";
import type { SecretMask } from "./secret-mask.ts";
import type { StopRequest } from "./stop-request.ts";

/** More foreign listeners than this in one launch are no accident of timing; the VM goes back to the queue. */
const PORT_TRIES_MAX = 16;

export interface QemuLaunchDeps {
  readonly config: Config;
  readonly launches: LaunchStore;
  readonly logger: Logger;
  readonly tee: Tee;
  /** Makes the writable disks. */
  readonly disks: SpareOverlay;
  /** PCI address of the GPU to pass through, or false. */
  readonly gpu: string | false;
  readonly forwardBind: string | undefined;
  /** Under which address clients reach this host. */
  readonly address: string;
}

/** What is to be started, and who hears of it. */
export interface QemuOrder {
  readonly launch: Launch;
  readonly secrets: VmSecrets;
  readonly mask: SecretMask;
  readonly stop: StopRequest;
  readonly onConsole: (chunk: RingChunk) => void;
}

/** Makes the files, starts QEMU and brings the VM to `running`. Leaves no process behind when it fails or is stopped. */
export async function launchQemu(deps: QemuLaunchDeps, order: QemuOrder): Promise<RunningQemu> {
  const { launch, stop } = order;
  await makeFiles(deps, order);
  for (let tries = 0; tries < PORT_TRIES_MAX; tries++) {
    stop.signal.throwIfAborted();
    if (!(await isPortFree(deps.forwardBind ?? "", portOf(launch)))) {
      await changePort(deps, launch);
      continue;
    }
    try {
      return await startOnPort(deps, order);
    } catch (error) {
      if (!(error instanceof LaunchFailure) || error.failure.code !== "port_taken") throw error;
      await changePort(deps, launch);
    }
  }
  throw new LaunchFailure("ports_exhausted", `${PORT_TRIES_MAX} ports in a row were held by other processes`);
}

/** Rejects only when nothing is being made any more: what came later would outlive the launch. */
async function makeFiles({ config, tee, disks }: QemuLaunchDeps, { launch, secrets, stop }: QemuOrder): Promise<void> {
  const { qemu } = config;
  const { identity, spec, paths } = launch;
  const failed = new AbortController();
  const given = linkSignals([stop.signal, failed.signal]);
  const parts = [
    writeGuestFiles(paths, { vmId: identity.vmId, spec, secrets }),
    tee.kind === "none" && config.firmware === "ovmf"
      ? copyFirmwareVars(qemu.ovmfVars.file, paths.ovmfVars)
      : Promise.resolve(),
    qemu.enableDisk
      ? disks.take({
          sourceFile: qemu.disk.srcFile,
          destinationFile: paths.disk,
          format: qemu.disk.format,
          mode: config.diskMode,
          signal: given.signal,
        })
      : Promise.resolve(),
  ];
  await Promise.all(parts.map((part) => part.catch((error) => failed.abort(error))));
  given.release();
  failed.signal.throwIfAborted();
}

async function startOnPort(
  deps: QemuLaunchDeps,
  { launch, secrets, mask, stop, onConsole }: QemuOrder,
): Promise<RunningQemu> {
  const { config, logger } = deps;
  const { identity, paths } = launch;
  const port = portOf(launch);
  const startedMs = performance.now();
  const [binPath = "", ...args] = commandLine(deps, launch, secrets);
  launch.command = shellLine(maskCommand([binPath, ...args]));
  logger.info({ vmId: identity.vmId, epoch: identity.epoch, command: launch.command }, "starting QEMU");
  const qemu = await startQemu({
    binPath,
    args,
    paths,
    // Relative paths of the operator's (img/bzImage) start where the worker stands, as with Cocos.
    cwd: process.cwd(),
    vmId: identity.vmId,
    rings: { console: true, result: launch.spec.result === true },
    expectedPort: port,
    qmpTimeoutMs: config.launch.qmpTimeoutMs,
    signal: stop.signal,
    operatorPaths: operatorPaths(config),
    mask: (text) => mask.maskText(text),
    onConsole,
    onObservation: (seen) => logger.info({ vmId: identity.vmId, seen }, "seen of a VM"),
    onSpawned: async ({ pid, startTimeTicks }) => {
      await Promise.all([saveLaunch(launch, { pid, startTimeTicks, port }), publishStarting(deps, launch, stop, pid)]);
    },
  });
  try {
    const bootMs = Math.round(performance.now() - startedMs);
    const { host, epoch } = identity;
    await moveVm(
      deps,
      { launch, stop },
      {
        to: "running",
        fields: { address: deps.address, runningAtMs: String(Date.now()) },
        event: { type: "vm.running", data: { host, epoch, address: deps.address, port, bootMs } },
        progress: { address: `${deps.address}:${port}` },
        ttlMs: ttlMs(launch),
      },
    );
    return qemu;
  } catch (error) {
    await qemu.stop({ bounds: { ...config.stop, powerdownMs: 0 } });
    throw error;
  }
}

async function publishStarting(deps: QemuLaunchDeps, launch: Launch, stop: StopRequest, pid: number): Promise<void> {
  const { host, epoch } = launch.identity;
  const port = portOf(launch);
  await moveVm(
    deps,
    { launch, stop },
    {
      to: "starting",
      fields: { command: launch.command ?? null },
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
function commandLine(
  { config, tee, gpu, forwardBind }: QemuLaunchDeps,
  launch: Launch,
  secrets: VmSecrets,
): readonly string[] {
  const { identity, spec, paths } = launch;
  const { binPath, cocos, drover } = vmCommand(config, {
    vmId: identity.vmId,
    epoch: identity.epoch,
    hostPort: portOf(launch),
    forwardBind,
    paths,
    tee: tee.kind,
    gpu,
    aaKbsParams: secrets.aaKbsParams,
    resultPort: spec.result === true,
    endOnReboot: spec.onReboot === "end",
  });
  return [binPath, ...cocos, ...drover];
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
