import { CERTS_FSDEV_ID, ENV_FSDEV_ID } from "./cocos-device-args.ts";
import { type OptionPair, qemuOption } from "./qemu-option.ts";
import { CONSOLE_RING, RESULT_RING, type RingSpec } from "./ring-reader.ts";

/** The port that the guest finds under /dev/virtio-ports. */
const RESULT_PORT_NAME = "drover.result";

const RESULT_BUS_ID = "drover-serial";
const SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

export interface DroverLayer {
  readonly vmId: string;
  readonly epoch: number;
  readonly pidFile: string;
  /** One for the worker, one for whoever adopts the VM or looks at it: QMP serves one client at a time. */
  readonly qmpSockets: readonly [string, string];
  readonly tee: "none" | "snp" | "tdx";
  /** Which shares the Cocos part defines; only these can be made read-only. */
  readonly shares: { readonly certs: boolean; readonly env: boolean };
  readonly sharesReadonly: boolean;
  readonly sandbox: boolean;
  /** The request wants to hand back a result. */
  readonly resultPort: boolean;
  /** The request ends with a reboot of the guest. */
  readonly endOnReboot: boolean;
}

/**
 * What drover adds behind the Cocos part, which stays as it is.
 * - `-no-shutdown`: QEMU stays when the guest powers off, so that whoever comes later can see how it ended.
 * - Console and result go to ring buffers in QEMU's memory: a guest that writes for days fills no disk.
 * - `-device pvpanic` tells of a kernel panic; a confidential guest is left without, as it must not depend on the host.
 * - `-set` changes a share that stands further left, which keeps the Cocos part byte-identical (tried with QEMU 7.2: the
 *   guest can read and neither write, remove, rename, chmod nor make directories).
 */
export function droverArgs(layer: DroverLayer): readonly string[] {
  return [
    "-uuid",
    layer.vmId,
    "-name",
    processName(layer.vmId, layer.epoch),
    "-pidfile",
    layer.pidFile,
    ...layer.qmpSockets.flatMap((path, index) => qmpArgs(`qmp${index}`, path)),
    "-no-shutdown",
    "-chardev",
    ringbuf(CONSOLE_RING),
    "-serial",
    `chardev:${CONSOLE_RING.device}`,
    ...(layer.resultPort ? resultPortArgs() : []),
    ...(layer.tee === "none" ? ["-device", "pvpanic"] : []),
    ...(layer.endOnReboot ? ["-no-reboot"] : []),
    ...(layer.sandbox ? ["-sandbox", SANDBOX] : []),
    ...(layer.sharesReadonly ? readonlyShareArgs(layer.shares) : []),
  ];
}

/** The name that QEMU reports and that stands in its command line; used to recognise a VM's process. */
function processName(vmId: string, epoch: number): string {
  return `drover-${vmId}-${epoch}`;
}

/**
 * The same command for a QEMU that inherits its monitors' sockets as descriptors, because it may not make them itself.
 * Pure.
 */
export function withInheritedMonitors(
  args: readonly string[],
  monitors: readonly { readonly path: string; readonly fd: number }[],
): readonly string[] {
  const replaced = new Map(
    monitors.map(({ path, fd }, index) => [
      monitorSocket(`qmp${index}`, ["path", path]),
      monitorSocket(`qmp${index}`, ["fd", fd]),
    ]),
  );
  return args.map((arg) => replaced.get(arg) ?? arg);
}

function monitorSocket(id: string, where: OptionPair): string {
  return qemuOption("escaped", "socket", [["id", id], where, ["server", "on"], ["wait", "off"]]);
}

function qmpArgs(id: string, path: string): readonly string[] {
  return [
    "-chardev",
    monitorSocket(id, ["path", path]),
    "-mon",
    qemuOption("escaped", "", [
      ["chardev", id],
      ["mode", "control"],
    ]),
  ];
}

function resultPortArgs(): readonly string[] {
  return [
    "-device",
    qemuOption("escaped", "virtio-serial-pci", [["id", RESULT_BUS_ID]]),
    "-chardev",
    ringbuf(RESULT_RING),
    "-device",
    qemuOption("escaped", "virtserialport", [
      ["bus", `${RESULT_BUS_ID}.0`],
      ["chardev", RESULT_RING.device],
      ["name", RESULT_PORT_NAME],
    ]),
  ];
}

function ringbuf({ device, capacityBytes }: RingSpec): string {
  return qemuOption("escaped", "ringbuf", [
    ["id", device],
    ["size", capacityBytes],
  ]);
}

function readonlyShareArgs({ certs, env }: DroverLayer["shares"]): readonly string[] {
  const ids = [...(certs ? [CERTS_FSDEV_ID] : []), ...(env ? [ENV_FSDEV_ID] : [])];
  return ids.flatMap((id) => ["-set", `fsdev.${id}.readonly=on`]);
}
