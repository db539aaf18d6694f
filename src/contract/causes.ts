/**
 * Why a launch failed or a VM ended badly. Each failure is classified once, into one of these, and everything else
 * follows from it: whether a retry makes sense, whose fault it is, what an operator can do.
 *
 * - `retry: "never"`: the same request fails again everywhere; the VM fails for good.
 * - `retry: "backoff"`: an attempt is used, the next one comes after the backoff.
 * - `retry: "same-attempt"`: drover mends it itself within the launch (the next port).
 * - `retry: "requeue"`: the host's fault or doing; the VM goes back to the queue and no attempt is used.
 */
export interface CauseFacts {
  readonly retry: "never" | "backoff" | "same-attempt" | "requeue";
  readonly fault: "vm" | "host";
  readonly means: string;
  readonly action: string;
}

export const CAUSES = {
  port_taken: {
    retry: "same-attempt",
    fault: "host",
    means: "Another process of the host listens on the port that the VM got.",
    action: "Nothing: the port is set aside and the next one is taken. See who holds it with `ss -ltnp`.",
  },
  ports_exhausted: {
    retry: "requeue",
    fault: "host",
    means: "Every port of MANAGER_QEMU_HOST_FWD_RANGE is held or set aside.",
    action: "Widen MANAGER_QEMU_HOST_FWD_RANGE, or lower MANAGER_MAX_VMS below the number of ports.",
  },
  kernel_missing: {
    retry: "requeue",
    fault: "host",
    means: "The host does not have the kernel that MANAGER_QEMU_DISK_IMG_KERNEL_FILE names, or may not read it.",
    action: "Put the kernel there, or mend the path.",
  },
  kernel_invalid: {
    retry: "never",
    fault: "host",
    means: "QEMU does not accept the kernel file (OVMF boots a bzImage, SeaBIOS also a PVH vmlinux).",
    action: "Check MANAGER_QEMU_DISK_IMG_KERNEL_FILE and DROVER_FIRMWARE.",
  },
  initrd_missing: {
    retry: "requeue",
    fault: "host",
    means: "The host does not have the file that MANAGER_QEMU_DISK_IMG_ROOTFS_FILE names, or may not read it.",
    action: "Put the root file system there, or mend the path.",
  },
  firmware_missing: {
    retry: "requeue",
    fault: "host",
    means: "An OVMF or IGVM file is missing or unreadable.",
    action: "Install the firmware (Debian: ovmf), or mend the MANAGER_QEMU_OVMF_* or MANAGER_QEMU_IGVM_FILE path.",
  },
  disk_source_missing: {
    retry: "requeue",
    fault: "host",
    means: "The host does not have the disk image that MANAGER_QEMU_SRC_DISK_FILE names, or may not read it.",
    action: "Put the image there, or mend the path.",
  },
  qemu_missing: {
    retry: "requeue",
    fault: "host",
    means: "The QEMU binary or qemu-img does not exist on the host or may not be run.",
    action: "Install QEMU (Debian: qemu-system-x86 and qemu-utils), or mend MANAGER_QEMU_BIN_PATH.",
  },
  privileges_missing: {
    retry: "requeue",
    fault: "host",
    means: "QEMU could not be started as the user, or by sudo with the rights, that the host is set to.",
    action: "See DROVER_QEMU_USER and MANAGER_QEMU_USE_SUDO; `drover doctor` on the host says what is missing.",
  },
  kvm_unavailable: {
    retry: "requeue",
    fault: "host",
    means: "KVM was asked for and /dev/kvm is absent, not permitted or does not work.",
    action: "Load kvm_amd or kvm_intel, add the user to group kvm, or set MANAGER_QEMU_ENABLE_KVM=false.",
  },
  cpu_unsupported: {
    retry: "requeue",
    fault: "host",
    means: "This QEMU or host does not know the CPU model.",
    action: "Choose another MANAGER_QEMU_CPU; `qemu-system-x86_64 -cpu help` lists them. TDX guests need `host`.",
  },
  tee_unsupported: {
    retry: "requeue",
    fault: "host",
    means: "SEV-SNP or TDX was asked for and host or QEMU cannot give it.",
    action:
      "`drover doctor` names what is missing (firmware, kernel, QEMU); the C-bit is set by MANAGER_QEMU_SEV_SNP_CBITPOS. Or set MANAGER_QEMU_ENABLE_SEV_SNP / _TDX to false.",
  },
  tee_exhausted: {
    retry: "backoff",
    fault: "host",
    means: "All keys of the host for confidential VMs (SEV-SNP: ASIDs; TDX: key ids) are in use.",
    action: "Lower MANAGER_MAX_VMS to their number, or give SEV-SNP more ASIDs in the firmware's set-up.",
  },
  device_unavailable: {
    retry: "requeue",
    fault: "host",
    means: "A device of the host that the VM needs (GPU, vhost, tun) is absent or busy.",
    action: "Check the device and its driver; `drover doctor` says what keeps a GPU from VMs.",
  },
  gpu_busy: {
    retry: "requeue",
    fault: "host",
    means: "Somebody else uses the GPU of the host; the host gives it to no VM for a minute.",
    action: "Find who has it open with `fuser -v /dev/vfio/*`. The VM waits in the queue for a GPU that is free.",
  },
  memory_exhausted: {
    retry: "backoff",
    fault: "host",
    means: "The host could not give the guest its memory.",
    action: "Lower MANAGER_MAX_VMS or MANAGER_QEMU_MEMORY_SIZE.",
  },
  disk_full: {
    retry: "requeue",
    fault: "host",
    means: "The state directory of the host has no space left.",
    action: "Free space below DROVER_STATE_DIR.",
  },
  disk_locked: {
    retry: "backoff",
    fault: "host",
    means: "Another process has a disk image open for writing.",
    action: "Find the process with `fuser -v FILE`; the source image must not be in use.",
  },
  image_invalid: {
    retry: "never",
    fault: "host",
    means: "A disk or firmware image is not in the format that it is said to have, or is damaged.",
    action: "Check it with `qemu-img check` and the *_FORMAT variable.",
  },
  resources_exhausted: {
    retry: "backoff",
    fault: "host",
    means: "The host ran out of processes, file descriptors or similar.",
    action: "Raise the limits of the worker's unit (LimitNOFILE, TasksMax; with a GPU LimitMEMLOCK=infinity).",
  },
  qemu_option_invalid: {
    retry: "never",
    fault: "host",
    means: "QEMU refuses an option, machine, device or property of the command line.",
    action: "Run the logged command by hand; check the MANAGER_QEMU_* value that the message names.",
  },
  state_dir_unusable: {
    retry: "requeue",
    fault: "host",
    means: "The VM's own directory, socket or share could not be made or opened.",
    action: "Check owner and mode of DROVER_STATE_DIR.",
  },
  boot_timeout: {
    retry: "backoff",
    fault: "vm",
    means: "The VM did not get to `running` (or `ready`, if a probe was asked for) before its boot deadline.",
    action: "Look at the console tail; raise bootTimeout if the guest is only slow.",
  },
  guest_panic: {
    retry: "backoff",
    fault: "vm",
    means: "The guest's kernel panicked.",
    action: "Look at the console tail.",
  },
  computation_failed: {
    retry: "never",
    fault: "vm",
    means: "The guest ended itself and handed back an exit code other than 0.",
    action: "Look at result and console tail; set retryComputation if another try makes sense.",
  },
  qemu_crashed: {
    retry: "backoff",
    fault: "host",
    means: "QEMU ended by itself with an error or a signal of its own making.",
    action: "Look at the QEMU tail; run the logged command by hand.",
  },
  qemu_killed: {
    retry: "backoff",
    fault: "host",
    means: "Something outside drover killed QEMU (SIGKILL: often the kernel's out-of-memory killer).",
    action: "Check `journalctl -k` for the OOM killer; lower MANAGER_MAX_VMS.",
  },
  qemu_unresponsive: {
    retry: "backoff",
    fault: "host",
    means: "QEMU lives but did not answer on its monitor in time.",
    action: "Check the load of the host.",
  },
  qemu_vanished: {
    retry: "backoff",
    fault: "host",
    means: "QEMU was gone when nobody watched.",
    action: "Look at the host's logs.",
  },
  host_shutdown: {
    retry: "requeue",
    fault: "host",
    means: "The host or its worker was shut down while the VM was there.",
    action: "Nothing: the VM goes back to the queue.",
  },
  host_lost: {
    retry: "requeue",
    fault: "host",
    means: "The host of the VM has not been heard of for too long.",
    action: "Look at the host; see `drover hosts`.",
  },
  worker_crashed: {
    retry: "requeue",
    fault: "host",
    means: "The worker died during the launch; its next start cleaned up.",
    action: "Look at the worker's log.",
  },
  poisoned: {
    retry: "never",
    fault: "vm",
    means: "Several workers died while they launched this VM.",
    action: "Look at the workers' logs before you retry by hand.",
  },
  spec_invalid: {
    retry: "never",
    fault: "vm",
    means: "The host cannot make this VM out of the request as it stands.",
    action: "The message names the field.",
  },
  secret_unreadable: {
    retry: "never",
    fault: "host",
    means: "The sealed secrets could not be opened: the key is missing on this host, or the box was tampered with.",
    action: "Give the worker the API's DROVER_SECRETS_KEY (all key ids that are in use).",
  },
  queue_timeout: {
    retry: "never",
    fault: "vm",
    means: "The VM waited in the queue for longer than its queueTimeout.",
    action: "Add hosts, or raise queueTimeout.",
  },
  internal: {
    retry: "backoff",
    fault: "host",
    means: "drover itself failed in a way that it does not know.",
    action: "Report it with the worker's log.",
  },
} as const satisfies Record<string, CauseFacts>;

export type CauseCode = keyof typeof CAUSES;

export const CAUSE_CODES = Object.keys(CAUSES) as readonly CauseCode[];

/** A classified failure. `message` holds no secret: it comes from drover or from QEMU's own masked output. */
export interface Cause {
  readonly code: CauseCode;
  readonly message: string;
}

/** How a process ended that ended by itself; both are null where nobody saw it. */
export interface ProcessExit {
  readonly exitCode: number | null;
  readonly signal: string | null;
}

/** Thrown where a launch fails, once, already classified. */
export class LaunchFailure extends Error {
  readonly failure: Cause;
  /** How QEMU ended, where that is why the launch failed. */
  readonly exit: ProcessExit | undefined;

  constructor(code: CauseCode, message: string, options: ErrorOptions & { readonly exit?: ProcessExit } = {}) {
    super(message, options);
    this.name = "LaunchFailure";
    this.failure = { code, message };
    this.exit = options.exit;
  }
}
