/**
 * The struct that Cocos parses the environment into, field by field in Go's order, which is the order of its error
 * texts (manager/qemu/config.go). The order is that of v0.9.0. The fields for disk and GPU are younger; where they stand
 * between the others is inferred, which shows only where EnableDisk is one of several bad values.
 */
export interface EnvField {
  /** Go's name, as it stands in error texts. */
  readonly goName: string;
  readonly goType: "string" | "int" | "bool";
  /** The variable without prefix; empty for a field without a tag. */
  readonly env: string;
  readonly default: string;
}

export interface EnvStruct {
  readonly goName: string;
  readonly fields: readonly EnvField[];
}

const text = (goName: string, env: string, defaultText = ""): EnvField => ({
  goName,
  goType: "string",
  env,
  default: defaultText,
});
const int = (goName: string, env: string, defaultText: string): EnvField => ({
  goName,
  goType: "int",
  env,
  default: defaultText,
});
const bool = (goName: string, env: string, defaultText = ""): EnvField => ({
  goName,
  goType: "bool",
  env,
  default: defaultText,
});

export const COCOS_CONFIG: readonly (EnvField | EnvStruct)[] = [
  bool("EnableSEVSNP", ""),
  bool("EnableTDX", ""),
  text("QemuBinPath", "BIN_PATH", "qemu-system-x86_64"),
  bool("UseSudo", "USE_SUDO", "false"),
  bool("EnableKVM", "ENABLE_KVM", "true"),
  text("Machine", "MACHINE", "q35"),
  text("CPU", "CPU", "EPYC"),
  int("SMPCount", "SMP_COUNT", "4"),
  int("MaxCPUs", "SMP_MAXCPUS", "64"),
  text("MemID", "MEM_ID", "ram1"),
  {
    goName: "MemoryConfig",
    fields: [text("Size", "MEMORY_SIZE", "2048M"), int("Slots", "MEMORY_SLOTS", "5"), text("Max", "MAX_MEMORY", "30G")],
  },
  {
    goName: "OVMFCodeConfig",
    fields: [
      text("If", "OVMF_CODE_IF", "pflash"),
      text("Format", "OVMF_CODE_FORMAT", "raw"),
      int("Unit", "OVMF_CODE_UNIT", "0"),
      text("File", "OVMF_CODE_FILE", "/usr/share/OVMF/OVMF_CODE.fd"),
      text("ReadOnly", "OVMF_CODE_READONLY", "on"),
      text("Version", "OVMF_VERSION"),
    ],
  },
  {
    goName: "OVMFVarsConfig",
    fields: [
      text("If", "OVMF_VARS_IF", "pflash"),
      text("Format", "OVMF_VARS_FORMAT", "raw"),
      int("Unit", "OVMF_VARS_UNIT", "1"),
      text("File", "OVMF_VARS_FILE", "/usr/share/OVMF/OVMF_VARS.fd"),
    ],
  },
  {
    goName: "NetDevConfig",
    fields: [
      text("ID", "NETDEV_ID", "vmnic"),
      int("HostFwdAgent", "HOST_FWD_AGENT", "7020"),
      int("GuestFwdAgent", "GUEST_FWD_AGENT", "7002"),
    ],
  },
  {
    goName: "VirtioNetPciConfig",
    fields: [
      text("DisableLegacy", "VIRTIO_NET_PCI_DISABLE_LEGACY", "on"),
      bool("IOMMUPlatform", "VIRTIO_NET_PCI_IOMMU_PLATFORM", "true"),
      text("Addr", "VIRTIO_NET_PCI_ADDR", "0x2"),
      text("ROMFile", "VIRTIO_NET_PCI_ROMFILE"),
    ],
  },
  {
    goName: "KernelConfig",
    fields: [
      text("KernelFile", "DISK_IMG_KERNEL_FILE", "img/bzImage"),
      text("RootFsFile", "DISK_IMG_ROOTFS_FILE", "img/rootfs.cpio.gz"),
    ],
  },
  bool("EnableDisk", "ENABLE_DISK", "false"),
  {
    goName: "DiskConfig",
    fields: [
      text("SrcFile", "SRC_DISK_FILE", "img/enc_os.qcow2"),
      text("DstFile", "DST_DISK_FILE"),
      text("ID", "DISK_ID", "disk0"),
      text("Format", "DISK_FORMAT", "qcow2"),
      text("SCSIID", "DISK_SCSI_ID", "scsi0"),
    ],
  },
  {
    goName: "SEVSNPConfig",
    fields: [
      text("ID", "SEV_SNP_ID", "sev0"),
      int("CBitPos", "SEV_SNP_CBIT_POS", "51"),
      int("ReducedPhysBits", "SEV_SNP_REDUCED_PHYS_BITS", "1"),
      bool("EnableHostData", "ENABLE_HOST_DATA", "false"),
      text("HostData", "HOST_DATA"),
    ],
  },
  {
    goName: "TDXConfig",
    fields: [
      text("ID", "TDX_ID", "tdx0"),
      int("QuoteGenerationPort", "QUOTE_GENERATION_PORT", "4050"),
      text("OVMF", "OVMF_FILE", "/usr/share/ovmf/OVMF.fd"),
    ],
  },
  {
    goName: "IGVMConfig",
    fields: [text("ID", "IGVM_ID", "igvm0"), text("File", "IGVM_FILE", "/root/coconut-qemu.igvm")],
  },
  {
    goName: "GPUConfig",
    fields: [
      bool("EnableGPU", ""),
      text("GPUBDF", "GPU_BDF"),
      text("PCIeRootPort", "GPU_PCIE_ROOT_PORT", "pci.1"),
      text("PCIeBus", "GPU_PCIE_BUS", "pcie.0"),
      text("FWCfgPciMmio", "GPU_FW_CFG_MMIO_MB", "262144"),
    ],
  },
  bool("NoGraphic", "NO_GRAPHIC", "true"),
  text("Monitor", "MONITOR", "pty"),
  text("KernelCommandLine", "KERNEL_CMDLINE", "quiet console=null"),
  text("HostFwdRange", "HOST_FWD_RANGE", "6100-6200"),
  text("CertsMount", "CERTS_MOUNT"),
  text("EnvMount", "ENV_MOUNT"),
];
