import { expect, test } from "vitest";
import type { CauseCode } from "../../../src/contract/causes.ts";
import { causeOfEnd, classifyFailure } from "../../../src/qemu/classify-failure.ts";

const VM_DIR = "/var/lib/drover/vms/0b6f5f1e-0000-4000-8000-000000000001/1";
const OPERATOR = {
  kernel: "/boot/vmlinuz",
  initrd: "/boot/rootfs.cpio",
  firmware: ["/fw/code.bin", "/fw/vars.bin", "/fw/coconut.igvm"],
  diskSource: "/img/enc_os.qcow2",
};
const Q = "qemu-system-x86_64: ";

/** Texts of QEMU 7.2 (qemu-facts section 5), and a few of newer versions, with their causes. */
const STARTS: readonly (readonly [CauseCode, string])[] = [
  ["kernel_missing", "qemu: could not open kernel file '/nope/vmlinuz': No such file or directory"],
  ["initrd_missing", "qemu: error reading initrd /nope/rd: Failed to open file “/nope/rd”: No such file or directory"],
  ["kernel_invalid", "qemu: invalid kernel header"],
  ["kernel_invalid", `${Q}Error loading uncompressed kernel without PVH ELF Note`],
  ["qemu_option_invalid", `${Q}unsupported machine type\nUse -machine help to list supported machines`],
  ["qemu_option_invalid", `${Q}Property 'pc-q35-7.2-machine.frob' not found`],
  ["qemu_option_invalid", `${Q}-frobnicate: invalid option`],
  ["cpu_unsupported", `${Q}unable to find CPU model 'EPYC-v4'`],
  ["cpu_unsupported", `${Q}CPU model 'host' requires KVM or HVF`],
  ["qemu_option_invalid", `${Q}-device frob-pci: 'frob-pci' is not a valid device model name`],
  [
    "qemu_option_invalid",
    `${Q}-device virtio-net-pci,addr=0x2: PCI: slot 2 function 0 not available for virtio-net-pci, in use by e1000e,id=(null)`,
  ],
  [
    "port_taken",
    `${Q}-netdev user,id=vmnic,hostfwd=tcp:127.0.0.1:6399-:7002: Could not set up host forwarding rule 'tcp:127.0.0.1:6399-:7002'`,
  ],
  [
    "qemu_option_invalid",
    `${Q}-netdev user,id=n,hostfwd=tcp::99999-:1: Invalid host forwarding rule 'tcp::99999-:1' (Bad host port)`,
  ],
  [
    "kvm_unavailable",
    `Could not access KVM kernel module: Permission denied\n${Q}failed to initialize kvm: Permission denied`,
  ],
  [
    "kvm_unavailable",
    `Could not access KVM kernel module: No such file or directory\n${Q}failed to initialize kvm: No such file or directory`,
  ],
  ["kvm_unavailable", `${Q}-accel kvm: invalid accelerator kvm`],
  ["memory_exhausted", `${Q}cannot set up guest memory 'pc.ram': Cannot allocate memory`],
  [
    "qemu_option_invalid",
    `${Q}invalid value of maxmem: maximum memory size (0x1) must be at least the initial memory size (0x2)`,
  ],
  [
    "firmware_missing",
    `${Q}-drive if=pflash,file=/nope/OVMF_CODE.fd: Could not open '/nope/OVMF_CODE.fd': No such file or directory`,
  ],
  ["firmware_missing", `${Q}-drive if=pflash,file=/fw/code.bin: Could not open '/fw/code.bin': Permission denied`],
  [
    "disk_source_missing",
    `${Q}-drive file=${VM_DIR}/disk.qcow2: Could not open backing file: Could not open '/img/enc_os.qcow2': No such file or directory`,
  ],
  [
    "state_dir_unusable",
    `${Q}-drive file=${VM_DIR}/disk.qcow2: Could not open '${VM_DIR}/disk.qcow2': Permission denied`,
  ],
  [
    "state_dir_unusable",
    `${Q}-drive if=pflash,file=${VM_DIR}/OVMF_VARS.fd: Could not open '${VM_DIR}/OVMF_VARS.fd': Permission denied`,
  ],
  ["disk_locked", `${Q}-drive file=d.qcow2: Failed to get "write" lock\nIs another process using the image [d.qcow2]?`],
  [
    "state_dir_unusable",
    `${Q}cannot initialize fsdev 'env_fs': failed to open '${VM_DIR}/env': No such file or directory`,
  ],
  ["tee_unsupported", `${Q}-object sev-snp-guest,id=sev0: Parameter 'qom-type' does not accept value 'sev-snp-guest'`],
  ["tee_unsupported", `${Q}-object {"qom-type":"tdx-guest"}: Parameter 'qom-type' does not accept value 'tdx-guest'`],
  ["tee_unsupported", `${Q}-object igvm-cfg,id=igvm0: Parameter 'qom-type' does not accept value 'igvm-cfg'`],
  [
    "tee_unsupported",
    `${Q}../../hw/core/machine.c:1398: qemu_machine_creation_done: Assertion \`machine->cgs->ready' failed.`,
  ],
  [
    "tee_unsupported",
    `${Q}sev_kvm_init: cbitpos check failed, host '0' requested '51'\n${Q}failed to initialize kvm: Operation not permitted`,
  ],
  ["tee_unsupported", `${Q}vm-type tdx not supported by KVM`],
  ["tee_unsupported", `${Q}-machine igvm-cfg=igvm0: Property 'pc-q35-10.0-machine.igvm-cfg' not found.`],
  ["tee_unsupported", `${Q}sev_common_kvm_init: Failed to open /dev/sev 'Permission denied'`],
  [
    "tee_unsupported",
    `${Q}sev_snp_launch_start: SNP_LAUNCH_START ret=-5 fw_error=7 'Policy is not allowed'\n${Q}sev_common_kvm_init: failed to create encryption context\n${Q}failed to initialize kvm: Operation not permitted`,
  ],
  ["tee_unsupported", `${Q}TDX ioctl KVM_TDX_CAPABILITIES failed, hw_errors: 0x0: Invalid argument`],
  [
    "tee_exhausted",
    `${Q}sev_common_kvm_init: failed to initialize ret=-16 fw_error=0 ''\n${Q}failed to initialize kvm: Operation not permitted`,
  ],
  [
    "tee_exhausted",
    `${Q}sev_snp_launch_start: SNP_LAUNCH_START ret=-5 fw_error=23 'Required firmware resource depleted'`,
  ],
  ["tee_exhausted", `${Q}TDX ioctl KVM_TDX_INIT_VM failed, hw_errors: 0x0: No space left on device`],
  ["cpu_unsupported", `${Q}Named cpu model is not supported for TDX yet!`],
  [
    "firmware_missing",
    `${Q}Unable to load /fw/coconut.igvm: Failed to open file “/fw/coconut.igvm”: No such file or directory`,
  ],
  ["image_invalid", `${Q}Unable to parse IGVM file /fw/guest.igvm: -3`],
  ["image_invalid", `${Q}IGVM file does not describe a compatible supported platform`],
  ["image_invalid", `${Q}TDVF metadata doesn't specify TD_HOB location.`],
  [
    "state_dir_unusable",
    `${Q}-qmp unix:/nope/q.sock: Failed to bind socket to /nope/q.sock: No such file or directory`,
  ],
  ["state_dir_unusable", `${Q}-qmp unix:/x: UNIX socket path '/xxxx' is too long`],
  ["state_dir_unusable", `${Q}cannot create PID file: Cannot open pid file: No such file or directory`],
  [
    "device_unavailable",
    `${Q}-device vhost-vsock-pci: vhost-vsock: failed to open vhost device: No such file or directory`,
  ],
  ["device_unavailable", `${Q}-netdev tap: could not open /dev/net/tun: Permission denied`],
  [
    "device_unavailable",
    `${Q}-device vfio-pci,host=0000:01:00.0: vfio 0000:01:00.0: no iommu_group found: No such file or directory`,
  ],
  [
    "device_unavailable",
    `${Q}-device vfio-pci,host=0000:01:00.0: vfio 0000:01:00.0: group 12 is not viable\nPlease ensure all devices within the iommu_group are bound to their vfio bus driver.`,
  ],
  [
    "device_unavailable",
    `${Q}-device vfio-pci,host=0000:01:00.0: vfio 0000:01:00.0: failed to open /dev/vfio/12: Permission denied`,
  ],
  [
    "gpu_busy",
    `${Q}-device vfio-pci,host=0000:01:00.0: vfio 0000:01:00.0: failed to open /dev/vfio/12: Device or resource busy`,
  ],
  [
    "resources_exhausted",
    `${Q}VFIO_MAP_DMA failed: Cannot allocate memory\n${Q}-device vfio-pci,host=0000:01:00.0: vfio 0000:01:00.0: failed to setup container for group 12`,
  ],
  ["resources_exhausted", `${Q}vfio_container_dma_map(0x5581, 0x0, 0x80000000, 0x7f00) = -12 (Cannot allocate memory)`],
  ["image_invalid", `${Q}-drive file=x: Could not open 'x': Image is not in qcow2 format`],
  ["image_invalid", `${Q}system firmware block device pflash0 has invalid size 1024`],
  ["disk_full", "qemu-img: /d.qcow2: error while writing: No space left on device"],
  [
    "disk_source_missing",
    "qemu-img: Could not open '/img/enc_os.qcow2': Could not open '/img/enc_os.qcow2': Permission denied",
  ],
  ["resources_exhausted", `${Q}-drive file=a: Too many open files`],
  ["qemu_crashed", `${Q}something that nobody has heard of`],
  ["qemu_crashed", ""],
];

test.each(STARTS)("a failed start is %s: %s", (code, output) => {
  const cause = classifyFailure({
    output,
    exit: { exitCode: 1, signal: null },
    phase: "start",
    operatorPaths: OPERATOR,
    vmDir: VM_DIR,
  });
  expect(cause.code).toBe(code);
  expect(cause.message).not.toMatch(/^qemu/);
  expect(cause.message).not.toContain(VM_DIR);
  expect(cause.message).not.toBe("");
});

test("warnings, notes and a fallback to TCG explain no failure", () => {
  const output = [
    `${Q}warning: TCG doesn't support requested feature: CPUID.01H:EDX.vme [bit 1]`,
    `${Q}warning: host doesn't support requested feature: CPUID.80000001H`,
    "char device redirected to /dev/pts/3 (label compat_monitor0)",
    "Could not access KVM kernel module: No such file or directory",
    `${Q}failed to initialize kvm: No such file or directory`,
    `${Q}falling back to tcg`,
    `${Q}cannot set up guest memory 'pc.ram': Cannot allocate memory`,
  ].join("\n");
  const cause = classifyFailure({ output, exit: { exitCode: 1, signal: null }, phase: "start" });
  expect(cause).toEqual({
    code: "memory_exhausted",
    message: "cannot set up guest memory 'pc.ram': Cannot allocate memory",
  });
});

test.each([
  [{ exitCode: null, signal: "SIGKILL" }, "", "qemu_killed"],
  [{ exitCode: 0, signal: null }, `${Q}terminating on signal 15 from pid 7 (systemd)`, "qemu_killed"],
  [{ exitCode: null, signal: "SIGSEGV" }, "", "qemu_crashed"],
  [{ exitCode: null, signal: "SIGSYS" }, "", "qemu_crashed"],
  [{ exitCode: 127, signal: null }, "sh: 1: qemu-system-x86_64: not found", "qemu_missing"],
  [{ exitCode: null, signal: "SIGABRT" }, `${Q}x.c:1: Assertion \`machine->cgs->ready' failed.`, "tee_unsupported"],
] as const)("how it ended decides: %j %s", (exit, output, code) => {
  expect(classifyFailure({ output, exit, phase: "start" }).code).toBe(code);
});

test("what QEMU printed at its start explains no later end", () => {
  const output = `${Q}cannot set up guest memory 'pc.ram': Cannot allocate memory`;
  expect(classifyFailure({ output, exit: { exitCode: 1, signal: null }, phase: "run" }).code).toBe("qemu_crashed");
});

test("a message is short and holds no secret", () => {
  const output = `${Q}-append agent=hunter2: invalid option ${"x".repeat(2000)}`;
  const mask = (text: string) => text.replaceAll("hunter2", "***");
  const { message } = classifyFailure({ output, exit: { exitCode: 1, signal: null }, phase: "start", mask });
  expect(message).toHaveLength(500);
  expect(message).not.toContain("hunter2");
});

test("every end of a running VM has a cause, but for those that the guest wanted", () => {
  const gone = { kind: "exited", exitCode: null, signal: null, reason: null } as const;
  expect(causeOfEnd({ kind: "guest-shutdown" }, "")).toBeUndefined();
  expect(causeOfEnd({ kind: "guest-reset" }, "")).toBeUndefined();
  expect(causeOfEnd({ kind: "guest-panicked" }, "")?.code).toBe("guest_panic");
  expect(causeOfEnd({ kind: "internal-error" }, "")?.code).toBe("qemu_crashed");
  expect(causeOfEnd(gone, "")?.code).toBe("qemu_vanished");
  expect(causeOfEnd({ ...gone, signal: "SIGKILL" }, "")?.code).toBe("qemu_killed");
  expect(causeOfEnd({ ...gone, signal: "SIGSEGV" }, "")?.code).toBe("qemu_crashed");
  expect(causeOfEnd({ ...gone, exitCode: 11 }, "")?.code).toBe("qemu_crashed");
  expect(
    causeOfEnd({ ...gone, exitCode: 0, reason: "host-signal" }, `${Q}terminating on signal 15 from pid 1 (init)`),
  ).toEqual({
    code: "qemu_killed",
    message: "terminating on signal 15 from pid 1 (init)",
  });
  expect(causeOfEnd({ ...gone, exitCode: 0 }, "")?.code).toBe("qemu_killed");
  expect(causeOfEnd({ ...gone, exitCode: 0, reason: "host-qmp-quit" }, "")?.code).toBe("qemu_killed");
});
