import type { QemuConfig } from "../../contract/qemu-config.ts";
import { goTrimSpace } from "../../runtime/config/go-strconv.ts";
import { buildCocosArgs } from "../cocos-args.ts";
import type { CocosCase } from "./case-file.ts";
import { CocosParseError, EnvValues } from "./env-values.ts";

/** What Cocos's own code does with a case: its QEMU arguments, or its refusal in its own words. */
export type CocosAnswer =
  | { readonly args: readonly string[] }
  | { readonly error: { readonly code: "parse_error" | "validate_error"; readonly message: string } };

/**
 * Follows Cocos's code where it leads, its quirks included. The environment is the case's own and nothing else:
 * - It is parsed twice, first under the names without prefix (`MEMORY_SIZE`, ...), then as `MANAGER_QEMU_*`. The second
 *   run resets every field that has a default, so the first one shows through only where there is none; but a bad value
 *   in the first run is refused all the same.
 * - Whether there is a GPU is decided between the two: `MANAGER_QEMU_GPU_BDF` alone gives none, `GPU_BDF` does.
 * - `MANAGER_QEMU_ENABLE_SEV_SNP`, `_ENABLE_TDX` and `_SEV_SNP_CBITPOS` are documented and read by nothing.
 * - Values are not escaped.
 * Only the parts of Cocos that make the QEMU command are followed; a bad MANAGER_MAX_VMS, say, changes nothing here.
 */
export function answerAsCocos(cocosCase: CocosCase): CocosAnswer {
  const values = new EnvValues();
  let gpu: string | false;
  try {
    values.parse(cocosCase.env, "");
    gpu = detectedGpu(cocosCase, values);
    values.parse(cocosCase.env, "MANAGER_QEMU_");
  } catch (error) {
    if (!(error instanceof CocosParseError)) throw error;
    return { error: { code: "parse_error", message: error.message } };
  }
  const { perVm } = cocosCase;
  const diskFile = perVm.dstDiskFile || values.text("DST_DISK_FILE");
  const refusal = validate(values, diskFile);
  if (refusal !== undefined) return { error: { code: "validate_error", message: refusal } };
  const args = buildCocosArgs(qemuConfig(values), {
    hostPort: perVm.hostFwdAgent ?? values.int("HOST_FWD_AGENT"),
    deviceIdSuffix: perVm.deviceIdSuffix,
    certsDir: perVm.certsMount || values.text("CERTS_MOUNT"),
    envDir: perVm.envMount || values.text("ENV_MOUNT"),
    ovmfVarsFile: perVm.ovmfVarsFile || undefined,
    diskFile,
    hostData: perVm.hostData || undefined,
    kernelCmdlineSuffix: perVm.kernelCmdlineSuffix,
    gpu: gpu === false ? false : values.text("GPU_BDF") || gpu,
    snp: cocosCase.sevSnp,
    tdx: cocosCase.tdx,
    firmware: "ovmf",
    style: "verbatim",
  });
  return { args };
}

/** The address after the first run: a set GPU_BDF goes before detection. */
function detectedGpu({ gpu, gpuDetectedBdf }: CocosCase, values: EnvValues): string | false {
  const set = values.text("GPU_BDF");
  if (set !== "") return set;
  return gpu ? gpuDetectedBdf : false;
}

/** The check before a start. */
function validate(values: EnvValues, diskFile: string): string | undefined {
  const blank = (text: string): boolean => goTrimSpace(text) === "";
  if (values.bool("ENABLE_DISK")) {
    return blank(diskFile) ? "disk boot enabled but destination disk image is not set" : undefined;
  }
  if (blank(values.text("DISK_IMG_KERNEL_FILE"))) return "kernel boot enabled but kernel image is not set";
  if (blank(values.text("DISK_IMG_ROOTFS_FILE"))) return "kernel boot enabled but initramfs image is not set";
  return undefined;
}

function qemuConfig(values: EnvValues): QemuConfig {
  const text = (variable: string): string => values.text(variable);
  return {
    binPath: text("BIN_PATH"),
    useSudo: values.bool("USE_SUDO"),
    enableKvm: values.bool("ENABLE_KVM"),
    machine: text("MACHINE"),
    cpu: text("CPU"),
    smpCount: values.int("SMP_COUNT"),
    smpMaxCpus: values.int("SMP_MAXCPUS"),
    memory: {
      size: text("MEMORY_SIZE"),
      slots: values.int("MEMORY_SLOTS"),
      max: text("MAX_MEMORY"),
      backendId: text("MEM_ID"),
    },
    ovmfCode: {
      if: text("OVMF_CODE_IF"),
      format: text("OVMF_CODE_FORMAT"),
      unit: values.int("OVMF_CODE_UNIT"),
      file: text("OVMF_CODE_FILE"),
      readonly: text("OVMF_CODE_READONLY"),
      version: text("OVMF_VERSION"),
    },
    ovmfVars: {
      if: text("OVMF_VARS_IF"),
      format: text("OVMF_VARS_FORMAT"),
      unit: values.int("OVMF_VARS_UNIT"),
      file: text("OVMF_VARS_FILE"),
    },
    netdevId: text("NETDEV_ID"),
    hostFwdAgent: values.int("HOST_FWD_AGENT"),
    guestFwdAgent: values.int("GUEST_FWD_AGENT"),
    hostFwdRange: { first: 0, last: 0 }, // stands in no argument
    virtioNet: {
      disableLegacy: text("VIRTIO_NET_PCI_DISABLE_LEGACY"),
      iommuPlatform: values.bool("VIRTIO_NET_PCI_IOMMU_PLATFORM"),
      addr: text("VIRTIO_NET_PCI_ADDR"),
      romFile: text("VIRTIO_NET_PCI_ROMFILE"),
    },
    kernelFile: text("DISK_IMG_KERNEL_FILE"),
    rootFsFile: text("DISK_IMG_ROOTFS_FILE"),
    kernelCmdline: text("KERNEL_CMDLINE"),
    enableDisk: values.bool("ENABLE_DISK"),
    disk: {
      srcFile: text("SRC_DISK_FILE"),
      id: text("DISK_ID"),
      format: text("DISK_FORMAT"),
      scsiId: text("DISK_SCSI_ID"),
    },
    sevSnp: {
      id: text("SEV_SNP_ID"),
      cBitPos: values.int("SEV_SNP_CBIT_POS"),
      reducedPhysBits: values.int("SEV_SNP_REDUCED_PHYS_BITS"),
      enableHostData: values.bool("ENABLE_HOST_DATA"),
      hostData: text("HOST_DATA"),
    },
    tdx: { id: text("TDX_ID"), quoteGenerationPort: values.int("QUOTE_GENERATION_PORT"), ovmfFile: text("OVMF_FILE") },
    igvm: { id: text("IGVM_ID"), file: text("IGVM_FILE") },
    gpu: {
      bdf: text("GPU_BDF"),
      rootPort: text("GPU_PCIE_ROOT_PORT"),
      bus: text("GPU_PCIE_BUS"),
      fwCfgMmioMb: text("GPU_FW_CFG_MMIO_MB"),
    },
    noGraphic: values.bool("NO_GRAPHIC"),
    monitor: text("MONITOR"),
  };
}
