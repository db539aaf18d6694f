import { KERNEL_CMDLINE_MAX_CHARS } from "../../contract/limits.ts";
import { onOff, qemuId, word } from "./qemu-machine-variables.ts";
import { bool, choice, int, line, matching, orEmpty, port } from "./value-types.ts";
import { ValueRefused, type ValueType, variable } from "./variable.ts";

const PORT_MAX = 65_535;

/**
 * `first-last`, nothing before and nothing after. Cocos's own reading is looser (a pattern that may match anywhere, no
 * upper bound): "1-2-3" gives it 1 to 2.
 */
const portRange: ValueType<{ readonly first: number; readonly last: number }> = {
  allowed: `first-last, two ports from 1 to ${PORT_MAX}, the first not above the last`,
  parse(text) {
    const parts = /^(\d{1,5})-(\d{1,5})$/.exec(text);
    if (parts === null) throw new ValueRefused();
    const [first, last] = [Number(parts[1]), Number(parts[2])];
    if (first < 1 || last > PORT_MAX) throw new ValueRefused("names a port that does not exist");
    if (first > last) throw new ValueRefused("begins above its end");
    return { first, last };
  },
};

const pflash = <const F extends "CODE" | "VARS">(part: F, what: string, unit: string) => ({
  if: variable({
    name: `MANAGER_QEMU_OVMF_${part}_IF`,
    type: word,
    default: "pflash",
    group: "firmware",
    doc: `Interface of the drive with the ${what}.`,
  }),
  format: variable({
    name: `MANAGER_QEMU_OVMF_${part}_FORMAT`,
    type: word,
    default: "raw",
    group: "firmware",
    doc: `Format of the file with the ${what}.`,
  }),
  unit: variable({
    name: `MANAGER_QEMU_OVMF_${part}_UNIT`,
    type: int(0, 255),
    default: unit,
    group: "firmware",
    doc: `Unit number of the drive with the ${what}.`,
  }),
  file: variable({
    name: `MANAGER_QEMU_OVMF_${part}_FILE`,
    type: line(),
    default: `/usr/share/OVMF/OVMF_${part}.fd`,
    group: "firmware",
    doc: part === "CODE" ? "OVMF's code." : "OVMF's variables; every VM gets a copy of its own.",
  }),
});

export const OVMF_CODE_VARIABLES = {
  ...pflash("CODE", "firmware's code", "0"),
  readonly: variable({
    name: "MANAGER_QEMU_OVMF_CODE_READONLY",
    type: onOff,
    default: "on",
    group: "firmware",
    doc: "Whether VMs may not write the firmware's code.",
  }),
  version: variable({
    name: "MANAGER_QEMU_OVMF_VERSION",
    type: word,
    default: "edk2-stable202408",
    group: "firmware",
    doc: "Version of EDK II that OVMF was built from, given out with a VM's description.",
  }),
};
export const OVMF_VARS_VARIABLES = pflash("VARS", "firmware's variables", "1");

export const QEMU_DEVICE_VARIABLES = {
  tdxOvmfFile: variable({
    name: "MANAGER_QEMU_OVMF_FILE",
    type: line(),
    default: "/usr/share/ovmf/OVMF.fd",
    group: "firmware",
    doc: "OVMF in one file, for TDX guests.",
  }),
  netdevId: variable({
    name: "MANAGER_QEMU_NETDEV_ID",
    type: qemuId,
    default: "vmnic",
    group: "network",
    doc: "Id of the network backend; each VM's own suffix is appended.",
  }),
  hostFwdAgent: variable({
    name: "MANAGER_QEMU_HOST_FWD_AGENT",
    type: port,
    default: "7020",
    group: "network",
    doc: "Host port in Cocos's start-up log only: every VM gets one of MANAGER_QEMU_HOST_FWD_RANGE.",
  }),
  guestFwdAgent: variable({
    name: "MANAGER_QEMU_GUEST_FWD_AGENT",
    type: port,
    default: "7002",
    group: "network",
    doc: "Port of the agent in the guest, which the VM's host port leads to.",
  }),
  hostFwdRange: variable({
    name: "MANAGER_QEMU_HOST_FWD_RANGE",
    type: portRange,
    default: "6100-6200",
    group: "network",
    doc: "Host ports for VMs, one for each; drover's own ports in it are left out.",
  }),
  disableLegacy: variable({
    name: "MANAGER_QEMU_VIRTIO_NET_PCI_DISABLE_LEGACY",
    type: choice("on", "off", "auto"),
    default: "on",
    group: "network",
    doc: "Whether the network device is virtio 1.0 only.",
  }),
  iommuPlatform: variable({
    name: "MANAGER_QEMU_VIRTIO_NET_PCI_IOMMU_PLATFORM",
    type: bool,
    default: "true",
    group: "network",
    doc: "Whether the network device goes through the platform's IOMMU.",
  }),
  netAddr: variable({
    name: "MANAGER_QEMU_VIRTIO_NET_PCI_ADDR",
    type: matching(/^(0x)?[0-9a-fA-F]{1,2}(\.[0-7])?$/, 'a PCI slot, for example "0x2"'),
    default: "0x2",
    group: "network",
    doc: "PCI slot of the network device.",
  }),
  romFile: variable({
    name: "MANAGER_QEMU_VIRTIO_NET_PCI_ROMFILE",
    type: line(),
    default: "",
    emptyMeans: "no boot ROM",
    group: "network",
    doc: "Boot ROM of the network device.",
  }),
  kernelFile: variable({
    name: "MANAGER_QEMU_DISK_IMG_KERNEL_FILE",
    type: line(),
    default: "img/bzImage",
    group: "boot",
    doc: "The guest's kernel; not used with MANAGER_QEMU_ENABLE_DISK.",
  }),
  rootFsFile: variable({
    name: "MANAGER_QEMU_DISK_IMG_ROOTFS_FILE",
    type: line(),
    default: "img/rootfs.cpio.gz",
    group: "boot",
    doc: "The guest's initial RAM disk; not used with MANAGER_QEMU_ENABLE_DISK.",
  }),
  kernelCmdline: variable({
    name: "MANAGER_QEMU_KERNEL_CMDLINE",
    type: line(KERNEL_CMDLINE_MAX_CHARS),
    default: "quiet console=null",
    group: "boot",
    doc: "The guest's kernel command line; not used with MANAGER_QEMU_ENABLE_DISK.",
  }),
  enableDisk: variable({
    name: "MANAGER_QEMU_ENABLE_DISK",
    type: bool,
    default: "false",
    group: "boot",
    doc: "Whether VMs boot from a disk instead of kernel and RAM disk.",
  }),
  srcDiskFile: variable({
    name: "MANAGER_QEMU_SRC_DISK_FILE",
    type: line(),
    default: "img/enc_os.qcow2",
    group: "boot",
    doc: "The disk image that every VM's own disk is made from.",
  }),
  diskId: variable({
    name: "MANAGER_QEMU_DISK_ID",
    type: qemuId,
    default: "disk0",
    group: "boot",
    doc: "Id of the disk.",
  }),
  diskFormat: variable({
    name: "MANAGER_QEMU_DISK_FORMAT",
    type: matching(/^[a-z0-9]{1,16}$/, "a disk format of QEMU, for example qcow2 or raw"),
    default: "qcow2",
    group: "boot",
    doc: "Format of a VM's own disk.",
  }),
  diskScsiId: variable({
    name: "MANAGER_QEMU_DISK_SCSI_ID",
    type: qemuId,
    default: "scsi0",
    group: "boot",
    doc: "Id of the disk's SCSI controller.",
  }),
  gpuBdf: variable({
    name: "MANAGER_QEMU_GPU_BDF",
    type: orEmpty(
      matching(/^([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]$/, 'a PCI address, for example "0000:41:00.0"'),
    ),
    default: "",
    emptyMeans: "detect",
    group: "gpu",
    doc: "The GPU that one VM at a time gets; without it the first NVIDIA GPU bound to vfio-pci.",
  }),
  gpuRootPort: variable({
    name: "MANAGER_QEMU_GPU_PCIE_ROOT_PORT",
    type: qemuId,
    default: "pci.1",
    group: "gpu",
    doc: "Id of the PCIe root port that the GPU is plugged into.",
  }),
  gpuBus: variable({
    name: "MANAGER_QEMU_GPU_PCIE_BUS",
    type: word,
    default: "pcie.0",
    group: "gpu",
    doc: "Bus of that root port.",
  }),
  gpuFwCfgMmioMb: variable({
    name: "MANAGER_QEMU_GPU_FW_CFG_MMIO_MB",
    type: matching(/^[0-9]{1,12}$/, "a whole number"),
    default: "262144",
    group: "gpu",
    doc: "The firmware's 64-bit MMIO window for the GPU, in MiB.",
  }),
};
