import type { CauseCode } from "../causes.ts";
import type { Trouble } from "./trouble.ts";

/** Programs, rights, processors, devices and memory of a host. */
export const HARDWARE_TROUBLES = {
  qemu_missing: {
    sees: "`'...' could not be started (ENOENT)`, `sudo: ...: command not found` or `setpriv: failed to execute`.",
    why: "QEMU is not installed, MANAGER_QEMU_BIN_PATH is wrong, or the worker's PATH (that of its unit, not of your shell) does not have it.",
    look: "As the worker's user, with the worker's environment:",
    commands: ["drover doctor", "command -v qemu-system-x86_64 qemu-img"],
    mend: "Debian and Ubuntu: `apt install qemu-system-x86 qemu-utils`. VMs that wait take the host by themselves.",
  },
  privileges_missing: {
    sees: "A line of `sudo` or `setpriv`: `a password is required`, `is not in the sudoers file`, `Operation not permitted`.",
    why: "MANAGER_QEMU_USE_SUDO is set and sudoers does not have the rule that drover needs, the unit has NoNewPrivileges, or DROVER_QEMU_USER is set and the worker is not root.",
    look: "`drover doctor` prints the line that sudoers needs for this user ([hardening.md](hardening.md)).",
    commands: ["drover doctor", "sudo -n -l"],
    mend: "Put that line into a file of /etc/sudoers.d, or do without sudo: a user in the group `kvm` needs none.",
  },
  kvm_unavailable: {
    sees: "QEMU says `Could not access KVM kernel module: No such file or directory` or `Permission denied`, or `failed to initialize kvm`.",
    why: "The processor's virtualisation is switched off in the firmware, the module is not loaded, the worker runs in a VM or container without /dev/kvm, or its user is not in the group `kvm`.",
    look: "See [No KVM](#no-kvm) below.",
    commands: ["ls -l /dev/kvm", "grep -cE 'vmx|svm' /proc/cpuinfo", "lsmod | grep kvm"],
    mend: "A group counts from the next start of the worker on. Without KVM guests run some ten times slower (`tcg`), which tests can live with and computations cannot.",
  },
  cpu_unsupported: {
    sees: "QEMU says `unable to find CPU model`, `CPU model 'host' requires KVM` or `host doesn't support requested feature`.",
    why: "MANAGER_QEMU_CPU names a model that this QEMU is too old for (EPYC-v4 needs 7.2 or newer of some distributions), or that this processor cannot give.",
    look: "What this QEMU knows:",
    commands: ["qemu-system-x86_64 -version", "qemu-system-x86_64 -cpu help | less", "lscpu | head -20"],
    mend: "Set a model that all hosts of the pool have, or give such hosts a pool of their own.",
  },
  tee_unsupported: {
    sees: "QEMU says `Parameter 'qom-type' does not accept value 'sev-snp-guest'`, `sev_kvm_init: ...`, `KVM_TDX...`, or that a machine has no property `igvm-cfg`.",
    why: "SEV-SNP or TDX is asked for, and one of the firmware, the kernel, QEMU or the permissions of /dev/sev is missing or too old.",
    look: "See [The TEE is not there](#the-tee-is-not-there) below. Each of the checks `tee`, `tee_qemu`, `tee_kvm`, `tee_keys` and `sev_device` names one thing.",
    commands: ["drover doctor", "dmesg | grep -iE 'sev|tdx|rmp'"],
    mend: "With more than one host, let only those serve confidential VMs that can: a request with `tee` waits for such a host.",
  },
  tee_exhausted: {
    sees: "`KVM_TDX_INIT_VM failed: No space left on device`, `sev_...: failed to initialize ret=-16` or `firmware resource depleted`.",
    why: "Each confidential VM holds a key of the processor until its QEMU is gone, and there are fewer than VMs. Other virtual machines of the host take from the same.",
    look: "How many there are, and who else uses them:",
    commands: ["drover doctor", "cat /sys/fs/cgroup/misc.capacity /sys/fs/cgroup/misc.current", "pgrep -a qemu-system"],
    mend: "The number of ASIDs for SEV-SNP is a setting of the firmware (minimum SEV non-ES ASID). The VM is tried again after its backoff.",
  },
  device_unavailable: {
    sees: "QEMU says `failed to open vhost`, `could not open /dev/net/tun`, or a line with `vfio`.",
    why: "The GPU is bound to the driver of the host and not to vfio-pci, its IOMMU group has other devices, the module is not loaded, or the device file belongs to root.",
    look: "`drover doctor` says what keeps the GPU from VMs.",
    commands: ["drover doctor", "lspci -nnk -d 10de:", "ls -l /dev/vfio /dev/vhost-vsock"],
    mend: "Bind the GPU to vfio-pci at boot, and give /dev/vfio to the worker's group. The VM goes to another host meanwhile.",
  },
  gpu_busy: {
    sees: "QEMU says `vfio ...: Device or resource busy`. The VM is queued again and the host gives its GPU to nobody for a minute.",
    why: "A program that drover does not know of has the GPU open: a QEMU that was started by hand, or one of another installation.",
    look: "Who has it open:",
    commands: ["fuser -v /dev/vfio/*"],
    mend: "End that program. drover itself gives a GPU to one VM at a time.",
  },
  memory_exhausted: {
    sees: "QEMU says `cannot set up guest memory 'pc.ram': Cannot allocate memory`, or the kernel killed it at the limit of its control group.",
    why: "The VMs of the host together want more memory than it has, or QEMU itself needed more than DROVER_QEMU_MEMORY_OVERHEAD beside the guest's memory.",
    look: "What is there, and whether the kernel had to kill:",
    commands: ["free -h", "journalctl -k | grep -i 'out of memory\\|oom-kill'"],
    mend: "Set DROVER_MEMORY_RESERVE to what the host needs for itself; MANAGER_MAX_VMS times MANAGER_QEMU_MEMORY_SIZE should fit beside it. Raise DROVER_QEMU_MEMORY_OVERHEAD where the kernel killed QEMU at its limit.",
  },
  resources_exhausted: {
    sees: "`Too many open files`, `Resource temporarily unavailable`, `qemu_thread_create`, or `VFIO_MAP_DMA failed` with a GPU.",
    why: "A limit of the worker's unit or of the user: open files, processes and threads, memory that may be locked.",
    look: "The limits that the worker has now (its pid stands in the log and in `systemctl status`):",
    commands: ["cat /proc/PID/limits", "systemctl show drover-worker -p LimitNOFILE -p TasksMax -p LimitMEMLOCK"],
    mend: "Raise them in a drop-in of the unit and restart the worker; its VMs run on, with the limits that they began with.",
  },
  qemu_option_invalid: {
    sees: "QEMU says `invalid option`, `unsupported machine type`, `Property '...' not found`, `is not a valid device model name` or `PCI: slot ... not available`.",
    why: "A MANAGER_QEMU_* value does not fit this version of QEMU, or two values do not fit each other. An upgrade of QEMU may take an old machine type away.",
    look: "The line names the option. See the whole command that this host would use, and [run it by hand](#run-the-command-by-hand):",
    commands: ["drover explain", "qemu-system-x86_64 -machine help | less"],
    mend: "Mend the value on this host. All VMs would fail in the same way, so none is tried again by itself: retry them afterwards.",
  },
} as const satisfies Partial<Record<CauseCode, Trouble>>;
