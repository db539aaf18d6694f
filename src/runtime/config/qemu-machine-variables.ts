import { bool, int, line, matching, memorySize, optionalBool } from "./value-types.ts";
import { variable } from "./variable.ts";

/** QEMU's own rule for ids (id_wellformed in util/id.c). */
export const qemuId = matching(/^[A-Za-z][A-Za-z0-9._-]{0,127}$/, "a QEMU id: letters, digits, - . _, a letter first");
export const onOff = matching(/^(on|off|yes|no|true|false|y|n)$/, "on or off");
/** A text of its own in the command line: empty is impossible, as an empty variable counts as unset. */
export const word = line();

/** Machine, memory and processors, and how QEMU is run. */
export const QEMU_MACHINE_VARIABLES = {
  binPath: variable({
    name: "MANAGER_QEMU_BIN_PATH",
    type: line(),
    default: "qemu-system-x86_64",
    group: "machine",
    doc: "The QEMU binary, as a path or as a name to be looked up in PATH.",
  }),
  useSudo: variable({
    name: "MANAGER_QEMU_USE_SUDO",
    type: bool,
    default: "false",
    group: "machine",
    doc: "Whether QEMU is run by sudo.",
  }),
  enableKvm: variable({
    name: "MANAGER_QEMU_ENABLE_KVM",
    type: bool,
    default: "true",
    group: "machine",
    doc: "Whether KVM is used; without it QEMU emulates the processor (TCG), which is slow.",
  }),
  machine: variable({
    name: "MANAGER_QEMU_MACHINE",
    type: word,
    default: "q35",
    group: "machine",
    doc: "QEMU's machine type, with properties if wanted.",
  }),
  cpu: variable({
    name: "MANAGER_QEMU_CPU",
    type: word,
    default: "EPYC",
    group: "machine",
    doc: "QEMU's CPU model, with properties if wanted.",
  }),
  smpCount: variable({
    name: "MANAGER_QEMU_SMP_COUNT",
    type: int(1, 4096),
    default: "4",
    group: "machine",
    doc: "Virtual CPUs of a VM.",
  }),
  smpMaxCpus: variable({
    name: "MANAGER_QEMU_SMP_MAXCPUS",
    type: int(1, 4096),
    default: "64",
    group: "machine",
    doc: "Virtual CPUs that a VM could have at most; not below MANAGER_QEMU_SMP_COUNT.",
  }),
  memorySize: variable({
    name: "MANAGER_QEMU_MEMORY_SIZE",
    type: memorySize,
    default: "2048M",
    group: "machine",
    doc: "Memory of a VM.",
  }),
  memorySlots: variable({
    name: "MANAGER_QEMU_MEMORY_SLOTS",
    type: int(0, 256),
    default: "5",
    group: "machine",
    doc: "Slots for memory that is plugged in later.",
  }),
  memoryMax: variable({
    name: "MANAGER_QEMU_MAX_MEMORY",
    type: memorySize,
    default: "30G",
    group: "machine",
    doc: "Memory that a VM could have at most; not below MANAGER_QEMU_MEMORY_SIZE.",
  }),
  memoryBackendId: variable({
    name: "MANAGER_QEMU_MEM_ID",
    type: qemuId,
    default: "ram1",
    group: "machine",
    doc: "Id of the memory backend of a confidential VM.",
  }),
  noGraphic: variable({
    name: "MANAGER_QEMU_NO_GRAPHIC",
    type: bool,
    default: "true",
    group: "machine",
    doc: "Whether QEMU runs without a display.",
  }),
  monitor: variable({
    name: "MANAGER_QEMU_MONITOR",
    type: word,
    default: "pty",
    group: "machine",
    doc: "Where QEMU's human monitor goes; drover itself uses QMP sockets of its own.",
  }),
};

/** SEV-SNP, TDX and IGVM. */
export const QEMU_TEE_VARIABLES = {
  enableSevSnp: variable({
    name: "MANAGER_QEMU_ENABLE_SEV_SNP",
    type: optionalBool,
    default: "",
    emptyMeans: "detect",
    group: "tee",
    doc: "Whether VMs are SEV-SNP guests; overrides detection in both directions.",
  }),
  enableTdx: variable({
    name: "MANAGER_QEMU_ENABLE_TDX",
    type: optionalBool,
    default: "",
    emptyMeans: "detect",
    group: "tee",
    doc: "Whether VMs are TDX guests; overrides detection in both directions.",
  }),
  sevSnpId: variable({
    name: "MANAGER_QEMU_SEV_SNP_ID",
    type: qemuId,
    default: "sev0",
    group: "tee",
    doc: "Id of the SEV-SNP object; each VM's own suffix is appended.",
  }),
  cBitPos: variable({
    name: "MANAGER_QEMU_SEV_SNP_CBITPOS",
    aliases: ["MANAGER_QEMU_SEV_SNP_CBIT_POS"],
    type: int(0, 63),
    default: "51",
    group: "tee",
    doc: "Position of the C-bit in a guest physical address.",
  }),
  reducedPhysBits: variable({
    name: "MANAGER_QEMU_SEV_SNP_REDUCED_PHYS_BITS",
    type: int(0, 63),
    default: "1",
    group: "tee",
    doc: "Bits by which SEV-SNP narrows guest physical addresses.",
  }),
  enableHostData: variable({
    name: "MANAGER_QEMU_ENABLE_HOST_DATA",
    type: bool,
    default: "false",
    group: "tee",
    doc: "Whether an SEV-SNP guest gets host data: the SHA-256 digest of its request.",
  }),
  hostData: variable({
    name: "MANAGER_QEMU_HOST_DATA",
    type: line(),
    default: "",
    group: "tee",
    doc: "Host data of an SEV-SNP guest; overwritten for every VM, as in Cocos.",
  }),
  tdxId: variable({
    name: "MANAGER_QEMU_TDX_ID",
    type: qemuId,
    default: "tdx0",
    group: "tee",
    doc: "Id of the TDX object; each VM's own suffix is appended.",
  }),
  quoteGenerationPort: variable({
    name: "MANAGER_QEMU_QUOTE_GENERATION_PORT",
    type: int(1),
    default: "4050",
    group: "tee",
    doc: "Vsock port of the host's quote generation service (TDX).",
  }),
  igvmId: variable({
    name: "MANAGER_QEMU_IGVM_ID",
    type: qemuId,
    default: "igvm0",
    group: "tee",
    doc: "Id of the IGVM object (SEV-SNP).",
  }),
  igvmFile: variable({
    name: "MANAGER_QEMU_IGVM_FILE",
    type: line(),
    default: "/root/coconut-qemu.igvm",
    group: "tee",
    doc: "The IGVM file with the guest's firmware (SEV-SNP).",
  }),
};
