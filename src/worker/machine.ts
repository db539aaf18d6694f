import type { QemuConfig } from "../contract/qemu-config.ts";
import type { VmSecrets, VmSpec } from "../contract/vm-request.ts";
import { type AttachOptions, attachQemu } from "../qemu/attach-qemu.ts";
import type { Confinement } from "../qemu/confinement.ts";
import { copyFirmwareVars } from "../qemu/firmware-vars.ts";
import { writeGuestFiles } from "../qemu/guest-files.ts";
import type { Limiter } from "../qemu/limiter.ts";
import { isPortFree } from "../qemu/port-check.ts";
import { findLaunchesOf } from "../qemu/process-scan.ts";
import { qemuLimits } from "../qemu/qemu-limits.ts";
import { giveToQemuUser } from "../qemu/qemu-user-files.ts";
import type { RunningQemu } from "../qemu/running-qemu.ts";
import type { SpareOverlay } from "../qemu/spare-overlay.ts";
import { type StartOptions, startQemu } from "../qemu/start-qemu.ts";
import { readOutputs, type VmOutputs } from "../qemu/vm-outputs.ts";
import type { VmPaths } from "../qemu/vm-paths.ts";
import type { Config } from "../runtime/config-shape.ts";
import { endProcess } from "../runtime/end-process.ts";
import { linkSignals } from "../runtime/link-signals.ts";
import { isAlive, type ProcessIdentity } from "../runtime/process-identity.ts";

/** A QEMU in this worker's hands, started by it or taken over. */
export type LiveQemu = Pick<
  RunningQemu,
  "pid" | "startTimeTicks" | "ended" | "stop" | "drainOutputs" | "detach" | "resume"
>;

/** A process that is some launch of a VM. */
export interface LivingLaunch extends ProcessIdentity {
  readonly epoch: number;
}

export interface GuestOrder {
  readonly paths: VmPaths;
  readonly vmId: string;
  readonly spec: VmSpec;
  readonly secrets: VmSecrets;
  readonly signal: AbortSignal;
  /** Whether the VM gets firmware variables of its own. */
  readonly firmwareVars: boolean;
}

interface StartOrder extends StartOptions {
  /** Memory of a guest that does not get what every VM of the host gets, in bytes. */
  readonly guestBytes?: number | undefined;
}

/**
 * What a worker does to its machine: guest files, processes, ports. Behind one interface, so that the model test runs
 * the real worker on a machine that it can crash at will.
 */
export interface Machine {
  /** Makes shares, disk and firmware variables. Rejects only when nothing is being made any more. */
  makeGuest(order: GuestOrder): Promise<void>;
  isPortFree(bind: string, port: number): Promise<boolean>;
  /** See `startQemu`. */
  start(order: StartOrder): Promise<LiveQemu>;
  /** See `attachQemu`. */
  attach(options: AttachOptions): Promise<LiveQemu>;
  /** Processes of this VM and this state directory: nothing may be launched while there is one. */
  livingOf(vmId: string): readonly LivingLaunch[];
  isAlive(identity: ProcessIdentity): boolean;
  /** Ends exactly this process and proves it; see `endProcess`. */
  end(identity: ProcessIdentity, termMs: number): Promise<void>;
  readOutputs(paths: VmPaths): Promise<VmOutputs>;
}

interface MachineDeps {
  readonly config: Config;
  readonly disks: SpareOverlay;
  readonly stateDir: string;
  /** With whose rights QEMU runs here. */
  readonly confinement: Confinement;
  readonly limiter: Limiter;
}

/** This machine. */
export function localMachine(deps: MachineDeps): Machine {
  return {
    makeGuest: (order) => makeGuest(deps, order),
    isPortFree,
    start: ({ guestBytes, ...options }) =>
      startQemu({
        ...options,
        confinement: deps.confinement,
        limiter: guestBytes === undefined ? deps.limiter : deps.limiter.with(qemuLimits(deps.config, guestBytes)),
      }),
    attach: attachQemu,
    livingOf: (vmId) => findLaunchesOf(deps.stateDir).filter(({ uuid }) => uuid === vmId),
    isAlive,
    end: async (identity, termMs) => void (await endProcess(identity, { termMs })),
    readOutputs,
  };
}

async function makeGuest(
  { config: { qemu, diskMode }, disks, stateDir, confinement }: MachineDeps,
  { paths, vmId, spec, secrets, signal, firmwareVars }: GuestOrder,
): Promise<void> {
  const failed = new AbortController();
  const given = linkSignals([signal, failed.signal]);
  const parts = [
    writeGuestFiles(paths, { vmId, spec, secrets }),
    firmwareVars ? copyFirmwareVars(qemu.ovmfVars.file, paths.ovmfVars) : Promise.resolve(),
    qemu.enableDisk ? disks.take({ ...diskOf(qemu, paths), mode: diskMode, signal: given.signal }) : Promise.resolve(),
  ];
  await Promise.all(parts.map((part) => part.catch((error) => failed.abort(error))));
  given.release();
  failed.signal.throwIfAborted();
  if (confinement.kind === "user") await giveToQemuUser(stateDir, paths, confinement.user);
}

function diskOf({ disk }: QemuConfig, paths: VmPaths) {
  return { sourceFile: disk.srcFile, destinationFile: paths.disk, format: disk.format };
}
