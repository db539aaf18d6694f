import { reservedPorts } from "../runtime/config/reserved-ports.ts";
import type { Config } from "../runtime/config-shape.ts";
import { cocosArgs } from "./cocos-args.ts";
import { droverArgs } from "./drover-args.ts";
import { type VmPaths, vmPaths } from "./vm-paths.ts";

/** What one launch adds to the host's configuration. */
export interface CommandValues {
  readonly vmId: string;
  readonly epoch: number;
  readonly hostPort: number;
  /** Address that the port is bound to; left out: all, as Cocos does. */
  readonly forwardBind?: string | undefined;
  readonly paths: VmPaths;
  readonly tee: "none" | "snp" | "tdx";
  readonly gpu: string | false;
  /** As -m takes it; left out: MANAGER_QEMU_MEMORY_SIZE. */
  readonly memorySize?: string | undefined;
  /** Base64 of 32 bytes, for SEV-SNP with MANAGER_QEMU_ENABLE_HOST_DATA. */
  readonly hostData?: string | undefined;
  /** A secret that stands on the kernel line: whoever prints the command masks it first (`maskCommand`). */
  readonly aaKbsParams?: string | undefined;
  readonly resultPort: boolean;
  readonly endOnReboot: boolean;
}

/** The command of one launch in its two visible parts; `[binPath, ...cocos, ...drover]` is what runs. */
export interface VmCommand {
  readonly binPath: string;
  readonly cocos: readonly string[];
  readonly drover: readonly string[];
}

/** Pure: the same values give the same command, on any host. */
export function vmCommand(config: Config, values: CommandValues): VmCommand {
  const { vmId, epoch, paths, tee, aaKbsParams, memorySize } = values;
  const { memory } = config.qemu;
  return {
    binPath: config.qemu.binPath,
    cocos: cocosArgs(
      { ...config.qemu, memory: { ...memory, size: memorySize ?? memory.size } },
      {
        hostPort: values.hostPort,
        forwardBind: values.forwardBind,
        deviceIdSuffix: vmId,
        certsDir: paths.certsDir,
        envDir: paths.environmentDir,
        ovmfVarsFile: paths.ovmfVars,
        diskFile: paths.disk,
        hostData: values.hostData,
        // The field is called kbs and the kernel's parameter kbc; both are the guest's names.
        kernelCmdlineSuffix: aaKbsParams === undefined ? undefined : ` agent.aa_kbc_params=${aaKbsParams}`,
        tee,
        gpu: values.gpu,
        firmware: config.firmware,
      },
    ),
    drover: droverArgs({
      vmId,
      epoch,
      pidFile: paths.pidFile,
      qmpSockets: [paths.qmpSocket, paths.qmpRescueSocket],
      tee,
      shares: { certs: true, env: true },
      sharesReadonly: config.sharesReadonly,
      sandbox: config.sandbox,
      resultPort: values.resultPort,
      endOnReboot: values.endOnReboot,
    }),
  };
}

/** Values of a VM that does not exist, for `drover explain`: the first free-to-use port and the first launch. */
export function exampleValues(config: Config, host: Pick<CommandValues, "tee" | "gpu" | "forwardBind">): CommandValues {
  const vmId = "11111111-2222-4333-8444-555555555555";
  const { first, last } = config.qemu.hostFwdRange;
  const reserved = reservedPorts(config);
  let hostPort = first;
  while (hostPort < last && reserved.includes(hostPort)) hostPort++;
  const paths = vmPaths({ stateDir: config.stateDir, vmId, epoch: 1, diskFormat: config.qemu.disk.format });
  return { vmId, epoch: 1, hostPort, paths, ...host, resultPort: false, endOnReboot: false };
}
