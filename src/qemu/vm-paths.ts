import { isAbsolute, join } from "node:path";
import { LaunchFailure } from "../contract/causes.ts";

/** sun_path of Linux holds 108 bytes, one of them the closing zero (unix(7)); QEMU refuses a longer path. */
const SOCKET_PATH_MAX_BYTES = 107;
const VM_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const DISK_FORMAT = /^[a-z0-9]{1,16}$/;

/** Every file that may appear in the directory of one launch. All paths are absolute. */
export interface VmPaths {
  /** `<stateDir>/vms/<vmId>/<epoch>`, mode 0700. */
  readonly dir: string;
  /** The launch as its worker knows it; deleted last of all. */
  readonly record: string;
  /** Written by QEMU itself. */
  readonly pidFile: string;
  /** The supervisor's monitor. QMP serves one client at a time. */
  readonly qmpSocket: string;
  /** A second monitor: for an adopter while a hung predecessor still holds the first, and for debugging. */
  readonly qmpRescueSocket: string;
  /** This VM's own copy of the firmware variables. */
  readonly ovmfVars: string;
  readonly disk: string;
  /** 9p share with the file `environment`. */
  readonly environmentDir: string;
  readonly environment: string;
  /** 9p share with the three PEM files. */
  readonly certsDir: string;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  /** stdout and stderr of QEMU. */
  readonly qemuLog: string;
  readonly consoleLog: string;
  /** What the guest wrote to the port `drover.result`. */
  readonly result: string;
  /** How the launch ended; written before the process is ended. */
  readonly end: string;
  /** Written by the guard when it ended the VM. */
  readonly guarded: string;
}

/** True for a UUID as drover writes it: lower case, with dashes. */
export function isVmId(text: string): boolean {
  return VM_ID.test(text);
}

/** `<stateDir>/vms`, where the directories of all VMs stand. */
export function vmsDirectory(stateDir: string): string {
  return join(stateDir, "vms");
}

/**
 * The paths of one launch. Pure: makes nothing.
 * Throws TypeError for a vmId that is no UUID, an epoch below 1, a relative state directory or a disk format that is
 * no plain word (any of them could lead out of the directory), and LaunchFailure `state_dir_unusable` when the
 * sockets' paths would be too long for the kernel.
 */
export function vmPaths(launch: {
  readonly stateDir: string;
  readonly vmId: string;
  readonly epoch: number;
  readonly diskFormat?: string;
}): VmPaths {
  const { stateDir, vmId, epoch, diskFormat = "qcow2" } = launch;
  if (!isAbsolute(stateDir)) throw new TypeError(`the state directory must be an absolute path (got '${stateDir}')`);
  if (!isVmId(vmId)) throw new TypeError("a vmId must be a lower-case UUID before it becomes part of a path");
  if (!Number.isSafeInteger(epoch) || epoch < 1) throw new TypeError(`an epoch counts from 1 (got ${epoch})`);
  if (!DISK_FORMAT.test(diskFormat))
    throw new TypeError(`'${diskFormat}' (MANAGER_QEMU_DISK_FORMAT) is no disk format`);
  const dir = join(vmsDirectory(stateDir), vmId, String(epoch));
  const environmentDir = join(dir, "env");
  const certsDir = join(dir, "certs");
  const qmpRescueSocket = join(dir, "qmp-rescue.sock");
  if (Buffer.byteLength(qmpRescueSocket) > SOCKET_PATH_MAX_BYTES) {
    throw new LaunchFailure(
      "state_dir_unusable",
      `the path of the monitor socket is longer than ${SOCKET_PATH_MAX_BYTES} bytes: choose a shorter DROVER_STATE_DIR (${stateDir})`,
    );
  }
  return {
    dir,
    record: join(dir, "record.json"),
    pidFile: join(dir, "qemu.pid"),
    qmpSocket: join(dir, "qmp.sock"),
    qmpRescueSocket,
    ovmfVars: join(dir, "OVMF_VARS.fd"),
    disk: join(dir, `disk.${diskFormat}`),
    environmentDir,
    environment: join(environmentDir, "environment"),
    certsDir,
    cert: join(certsDir, "cert.pem"),
    key: join(certsDir, "key.pem"),
    ca: join(certsDir, "ca.pem"),
    qemuLog: join(dir, "qemu.log"),
    consoleLog: join(dir, "console.log"),
    result: join(dir, "result.bin"),
    end: join(dir, "end.json"),
    guarded: join(dir, "guarded.json"),
  };
}
