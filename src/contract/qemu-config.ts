/** The operator's QEMU settings, parsed: one field for each MANAGER_QEMU_* variable. Sizes are QEMU's own texts. */
export interface QemuConfig {
  readonly binPath: string;
  readonly useSudo: boolean;
  readonly enableKvm: boolean;
  readonly machine: string;
  readonly cpu: string;
  readonly smpCount: number;
  readonly smpMaxCpus: number;
  readonly memory: { readonly size: string; readonly slots: number; readonly max: string; readonly backendId: string };
  readonly ovmfCode: PflashConfig & { readonly readonly: string; readonly version: string };
  readonly ovmfVars: PflashConfig;
  readonly netdevId: string;
  /** Shown only in Cocos's start-up log; every VM gets a port of its own. */
  readonly hostFwdAgent: number;
  readonly guestFwdAgent: number;
  readonly hostFwdRange: { readonly first: number; readonly last: number };
  readonly virtioNet: {
    readonly disableLegacy: string;
    readonly iommuPlatform: boolean;
    readonly addr: string;
    readonly romFile: string;
  };
  readonly kernelFile: string;
  readonly rootFsFile: string;
  readonly kernelCmdline: string;
  readonly enableDisk: boolean;
  readonly disk: { readonly srcFile: string; readonly id: string; readonly format: string; readonly scsiId: string };
  readonly sevSnp: {
    readonly id: string;
    readonly cBitPos: number;
    readonly reducedPhysBits: number;
    readonly enableHostData: boolean;
    readonly hostData: string;
  };
  readonly tdx: { readonly id: string; readonly quoteGenerationPort: number; readonly ovmfFile: string };
  readonly igvm: { readonly id: string; readonly file: string };
  readonly gpu: { readonly bdf: string; readonly rootPort: string; readonly bus: string; readonly fwCfgMmioMb: string };
  readonly noGraphic: boolean;
  readonly monitor: string;
}

interface PflashConfig {
  readonly if: string;
  readonly format: string;
  readonly unit: number;
  readonly file: string;
}

/** What the operator asked for: undefined means detect. */
export interface TeeWish {
  readonly enableSevSnp: boolean | undefined;
  readonly enableTdx: boolean | undefined;
}

/** What a VM of this host gets. `note` says why, where it is not simply what the host offers. */
export interface Tee {
  readonly kind: "none" | "snp" | "tdx";
  readonly note?: string;
}
