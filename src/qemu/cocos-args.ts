import type { QemuConfig } from "../contract/qemu-config.ts";
import { diskArgs, firmwareArgs, gpuArgs, kernelArgs, networkArgs, shareArgs } from "./cocos-device-args.ts";
import { sevSnpArgs, tdxArgs } from "./cocos-tee-args.ts";
import { type OptionStyle, qemuOption } from "./qemu-option.ts";

/** What differs from VM to VM on one host. Paths are absolute. */
export interface CocosVmValues {
  readonly hostPort: number;
  /** Address that the host port is bound to; left out: all, written exactly as Cocos does (`hostfwd=tcp::PORT-...`). */
  readonly forwardBind?: string | undefined;
  /** Appended with a dash to the ids of netdev, SEV-SNP and TDX object. */
  readonly deviceIdSuffix?: string | undefined;
  readonly certsDir?: string | undefined;
  readonly envDir?: string | undefined;
  /** This VM's copy of the firmware's variables; left out: the operator's file. */
  readonly ovmfVarsFile?: string | undefined;
  /** This VM's disk; needed with `enableDisk`. */
  readonly diskFile?: string | undefined;
  /** Base64; left out: the operator's value. */
  readonly hostData?: string | undefined;
  /** Appended to the kernel command line as it is, blank included. */
  readonly kernelCmdlineSuffix?: string | undefined;
  readonly tee: "none" | "snp" | "tdx";
  /** PCI address of the GPU that the VM gets. */
  readonly gpu: string | false;
  /** `seabios` leaves the two pflash drives out, so that QEMU takes its own firmware. */
  readonly firmware: "ovmf" | "seabios";
}

/** The same with the two technologies apart: Cocos's code can be told that a host has both. */
export interface CocosArgsInput extends Omit<CocosVmValues, "tee"> {
  readonly snp: boolean;
  readonly tdx: boolean;
  readonly style: OptionStyle;
}

/** The command line of the Cocos manager for one VM, without the binary, ready to be run. */
export function cocosArgs(qemu: QemuConfig, vm: CocosVmValues): readonly string[] {
  return buildCocosArgs(qemu, { ...vm, snp: vm.tee === "snp", tdx: vm.tee === "tdx", style: "escaped" });
}

/**
 * Order and spelling are Cocos's, byte for byte (manager/qemu/config.go, `ConstructQemuArgs`): users have scripts that
 * look at it, and attestation measures what it sets up. The goldens in test/fixtures guard it.
 */
export function buildCocosArgs(qemu: QemuConfig, vm: CocosArgsInput): readonly string[] {
  const { style, snp, tdx } = vm;
  const plain = !snp && !tdx;
  return [
    ...(qemu.enableKvm ? ["-enable-kvm"] : []),
    // Machine and CPU are option lists of the operator's own ("host,+invtsc"), so they are never escaped.
    ...(qemu.machine === "" ? [] : ["-machine", qemu.machine]),
    ...(qemu.cpu === "" ? [] : ["-cpu", qemu.cpu]),
    "-smp",
    qemuOption(style, String(qemu.smpCount), [["maxcpus", qemu.smpMaxCpus]]),
    "-m",
    qemuOption(style, qemu.memory.size, [
      ["slots", qemu.memory.slots],
      ["maxmem", qemu.memory.max],
    ]),
    ...(plain && vm.firmware === "ovmf" ? firmwareArgs(qemu, vm) : []),
    ...networkArgs(qemu, vm),
    ...(qemu.enableDisk ? diskArgs(qemu, vm) : []),
    ...(vm.gpu === false ? [] : gpuArgs(qemu, { style, bdf: vm.gpu })),
    ...(snp ? sevSnpArgs(qemu, vm) : []),
    ...(tdx ? tdxArgs(qemu, vm) : []),
    ...(qemu.enableDisk ? [] : kernelArgs(qemu, vm)),
    ...(qemu.noGraphic ? ["-nographic"] : []),
    "-monitor",
    qemu.monitor,
    ...shareArgs(vm),
  ];
}
