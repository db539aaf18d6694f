import type { CauseCode } from "../contract/causes.ts";

/** Files that the operator named: if one is missing, the message says which of his settings is wrong. */
export interface OperatorPaths {
  readonly kernel?: string;
  readonly initrd?: string;
  /** OVMF code and variables, TDX firmware, IGVM. */
  readonly firmware?: readonly string[];
  readonly diskSource?: string;
}

export interface FailurePattern {
  readonly cause: CauseCode;
  readonly pattern: RegExp;
  /** Only for a line that names this file of the operator. */
  readonly names?: keyof OperatorPaths;
  /** Not for a line about a file in the VM's own directory: that one is drover's, not the operator's. */
  readonly notOwn?: true;
}

/** QEMU's ways to say that a file cannot be opened. */
const CANNOT_OPEN = /No such file or directory|Permission denied|Could not open|Failed to open|failed to load/i;

/**
 * What QEMU and qemu-img print before they fail, first match wins. Written from and tested on the texts of QEMU 7.2;
 * those about SEV-SNP, TDX and IGVM of newer versions could not be provoked with it. The order matters: `PCI: slot ...
 * not available` is no missing device, and a line about KVM follows the one that says what of SEV is missing.
 */
export const FAILURE_PATTERNS: readonly FailurePattern[] = [
  // The programs that hand over to QEMU.
  { cause: "qemu_missing", pattern: /^setpriv: failed to execute|^sudo: .*command not found/ },
  {
    cause: "privileges_missing",
    pattern: /^(?:sudo|setpriv): |^sorry, |is not allowed to execute|is not in the sudoers/i,
  },

  { cause: "port_taken", pattern: /Could not set up host forwarding rule/ },
  { cause: "qemu_option_invalid", pattern: /Invalid host forwarding rule/ },

  { cause: "kernel_missing", pattern: /could not open kernel file/ },
  { cause: "kernel_missing", pattern: CANNOT_OPEN, names: "kernel" },
  {
    cause: "kernel_invalid",
    pattern: /invalid kernel header|without PVH ELF Note|Error loading uncompressed kernel|linux kernel too old/,
  },
  { cause: "initrd_missing", pattern: /error reading initrd/ },
  { cause: "initrd_missing", pattern: CANNOT_OPEN, names: "initrd" },
  { cause: "qemu_option_invalid", pattern: /initrd is too large/ },

  // Before a full disk: a TDX module without a key id left says ENOSPC. The other one is EBUSY of KVM's own count.
  {
    cause: "tee_exhausted",
    pattern:
      /KVM_TDX_INIT_VM failed.*(?:No space left|busy)|\bsev_\w+: failed to initialize ret=-16\b|firmware resource depleted/,
  },
  { cause: "disk_full", pattern: /No space left on device|Disk quota exceeded/ },
  { cause: "disk_locked", pattern: /Failed to get (shared )?"[^"]+" lock|Is another process using the image/ },
  {
    cause: "image_invalid",
    pattern:
      /Image is not in .* format|not a valid .* image|Could not read .*header|is corrupt|Image is corrupt|invalid size|Invalid argument.*qcow2|Unsupported qcow2 version|backing file format/i,
  },
  {
    cause: "image_invalid",
    pattern: /system firmware block device|combined size of system firmware|device requires \d+ bytes/,
  },
  { cause: "image_invalid", pattern: /Unknown driver|Unknown file format/ },
  { cause: "firmware_missing", pattern: CANNOT_OPEN, names: "firmware" },
  {
    cause: "firmware_missing",
    pattern: /could not load PC BIOS|Could not open '[^']*(?:OVMF|\.fd|\.igvm)|failed to find romfile/,
    notOwn: true,
  },
  { cause: "disk_source_missing", pattern: CANNOT_OPEN, names: "diskSource" },

  { cause: "image_invalid", pattern: /Unable to parse IGVM file|\bIGVM(?: file does not describe|: )|\bTDVF\b/ },

  // TDX takes the host's own processor only (MANAGER_QEMU_CPU=host).
  { cause: "cpu_unsupported", pattern: /Named cpu model is not supported for TDX/ },
  { cause: "tee_unsupported", pattern: /does not accept value '(?:sev|tdx|memory-backend-memfd|igvm)/ },
  { cause: "tee_unsupported", pattern: /Property '[^']*\.(?:igvm-cfg|confidential-guest-support)' not found/ },
  {
    cause: "tee_unsupported",
    pattern:
      /cgs->ready|\bsev_\w+:|\bSEV(?:-\w+)?:|\bSNP_|\/dev\/sev|KVM_TDX|\btdx_\w+:|\bTDX\b|confidential.guest|vm-type .* not supported/,
  },
  // A passed-through device pins all of the guest's memory, which counts against RLIMIT_MEMLOCK.
  { cause: "resources_exhausted", pattern: /VFIO_MAP_DMA failed|\bvfio_\w*dma_map\(.*Cannot allocate memory/ },
  { cause: "gpu_busy", pattern: /\bvfio\b.*Device or resource busy/ },
  { cause: "device_unavailable", pattern: /failed to open vhost|vhost-vsock|\/dev\/net\/tun|\bvfio\b|\/dev\/vfio/ },
  {
    cause: "cpu_unsupported",
    pattern: /unable to find CPU model|CPU model '[^']*' requires KVM|doesn't support requested features?(?!:)/,
  },
  {
    cause: "kvm_unavailable",
    pattern: /Could not access KVM|failed to initialize kvm|invalid accelerator kvm|requires KVM/i,
  },

  {
    cause: "memory_exhausted",
    pattern: /cannot set up guest memory|Cannot allocate memory|unable to map backing store/i,
  },
  {
    cause: "resources_exhausted",
    pattern: /Too many open files|Resource temporarily unavailable|qemu_thread_create|failed to create thread/i,
  },

  {
    cause: "qemu_option_invalid",
    pattern:
      /invalid option|unsupported machine type|Property '[^']*' not found|not a valid device model name|can't find value|PCI: slot .* not available|invalid value of maxmem|Device '[^']*' not found|Parameter '[^']*' (?:expects|is missing|does not accept)|Invalid parameter|requires an argument|Invalid (?:SMP )?CPU|No '[^']*' bus found|Duplicate ID|drive with bus=|invalid accelerator|Bus '[^']*' not found|maxcpus|memory size|invalid object type/i,
  },
  {
    cause: "state_dir_unusable",
    pattern:
      /cannot initialize fsdev|Failed to (?:bind|unlink) socket|UNIX socket path|cannot create PID file|Could not (?:open|create) '|Failed to create|chardev: .*: Failed|Permission denied|No such file or directory/i,
  },
];
