import type { QemuConfig } from "../contract/qemu-config.ts";
import type { CocosArgsInput } from "./cocos-args.ts";
import { type OptionStyle, qemuOption } from "./qemu-option.ts";

/** Ids of the two shares; drover's own layer sets them read-only under these names. */
export const CERTS_FSDEV_ID = "cert_fs";
export const ENV_FSDEV_ID = "env_fs";

export function firmwareArgs(
  { ovmfCode, ovmfVars }: QemuConfig,
  { style, ovmfVarsFile }: CocosArgsInput,
): readonly string[] {
  return [
    "-drive",
    qemuOption(style, "", [
      ["if", ovmfCode.if],
      ["format", ovmfCode.format],
      ["unit", ovmfCode.unit],
      ["file", ovmfCode.file],
      ["readonly", ovmfCode.readonly],
    ]),
    "-drive",
    qemuOption(style, "", [
      ["if", ovmfVars.if],
      ["format", ovmfVars.format],
      ["unit", ovmfVars.unit],
      ["file", ovmfVarsFile ?? ovmfVars.file],
    ]),
  ];
}

export function networkArgs(
  { netdevId, guestFwdAgent, virtioNet }: QemuConfig,
  { style, hostPort, forwardBind, deviceIdSuffix }: CocosArgsInput,
): readonly string[] {
  const id = suffixedId(netdevId, deviceIdSuffix);
  return [
    "-netdev",
    qemuOption(style, "user", [
      ["id", id],
      ["hostfwd", `tcp:${forwardBind ?? ""}:${hostPort}-:${guestFwdAgent}`],
    ]),
    "-device",
    qemuOption(style, "virtio-net-pci", [
      ["disable-legacy", virtioNet.disableLegacy],
      ["iommu_platform", virtioNet.iommuPlatform],
      ["netdev", id],
      ["addr", virtioNet.addr],
      ["romfile", virtioNet.romFile],
    ]),
  ];
}

export function diskArgs({ disk }: QemuConfig, { style, diskFile }: CocosArgsInput): readonly string[] {
  return [
    "-drive",
    qemuOption(style, "", [
      ["file", diskFile ?? ""],
      ["if", "none"],
      ["id", disk.id],
      ["format", disk.format],
    ]),
    "-device",
    qemuOption(style, "virtio-scsi-pci", [
      ["id", disk.scsiId],
      ["disable-legacy", "on"],
      ["iommu_platform", true],
    ]),
    "-device",
    qemuOption(style, "scsi-hd", [
      ["drive", disk.id],
      ["bus", `${disk.scsiId}.0`],
    ]),
  ];
}

export function gpuArgs(
  { gpu }: QemuConfig,
  { style, bdf }: { readonly style: OptionStyle; readonly bdf: string },
): readonly string[] {
  return [
    "-device",
    qemuOption(style, "pcie-root-port", [
      ["id", gpu.rootPort],
      ["bus", gpu.bus],
    ]),
    "-device",
    qemuOption(style, "vfio-pci", [
      ["host", bdf],
      ["bus", gpu.rootPort],
    ]),
    "-fw_cfg",
    qemuOption(style, "", [
      ["name", "opt/ovmf/X-PciMmio64Mb"],
      ["string", gpu.fwCfgMmioMb],
    ]),
  ];
}

/** Three plain arguments: QEMU splits none of them at commas. */
export function kernelArgs(qemu: QemuConfig, { kernelCmdlineSuffix }: CocosArgsInput): readonly string[] {
  const cmdline = `${qemu.kernelCmdline}${kernelCmdlineSuffix ?? ""}`;
  return ["-kernel", qemu.kernelFile, "-append", cmdline, "-initrd", qemu.rootFsFile];
}

export function shareArgs({ style, certsDir, envDir }: CocosArgsInput): readonly string[] {
  return [
    ...oneShareArgs(style, { id: CERTS_FSDEV_ID, tag: "certs_share", path: certsDir }),
    ...oneShareArgs(style, { id: ENV_FSDEV_ID, tag: "env_share", path: envDir }),
  ];
}

interface Share {
  readonly id: string;
  readonly tag: string;
  readonly path: string | undefined;
}

function oneShareArgs(style: OptionStyle, { id, tag, path }: Share): readonly string[] {
  if (path === undefined || path === "") return [];
  return [
    "-fsdev",
    qemuOption(style, "local", [
      ["id", id],
      ["path", path],
      ["security_model", "mapped"],
    ]),
    "-device",
    qemuOption(style, "virtio-9p-pci", [
      ["fsdev", id],
      ["mount_tag", tag],
    ]),
  ];
}

export function suffixedId(id: string, suffix: string | undefined): string {
  return suffix === undefined || suffix === "" ? id : `${id}-${suffix}`;
}
