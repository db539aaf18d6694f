import { type Mutant, tests } from "./mutant.ts";

const gpu = tests("unit", "unit/worker/gpu");
const placement = tests("unit", "unit/contract/placement");
const doctorTee = tests("unit", "unit/worker/doctor-tee");
const failures = tests("unit", "unit/qemu-runtime/classify-failure");

/** Breaks of where a VM may run, and with what. */
export const PLACEMENT_MUTANTS: readonly Mutant[] = [
  {
    name: "placement: VMs that need the GPU are fetched while it is held",
    file: "src/worker/fetch-loop.ts",
    before: "...(isGpuFree() ? inTurn(pools.gpu) : [])",
    after: "...inTurn(pools.gpu)",
    killers: [gpu("while the GPU is held nobody looks at the pools that ask for it")],
    why: "a VM would be fetched only to fail, while another host may have a GPU that is free",
  },
  {
    name: "placement: VMs that need the GPU come last",
    file: "src/worker/fetch-loop.ts",
    before: "return [...(isGpuFree() ? inTurn(pools.gpu) : []), ...inTurn(pools.others)];",
    after: "return [...inTurn(pools.others), ...(isGpuFree() ? inTurn(pools.gpu) : [])];",
    killers: [gpu("VMs that ask for the GPU come first while it is free")],
    why: "whoever does not need the GPU would take it from those who wait for it",
  },
  {
    name: "placement: a GPU that a VM holds is given to the next one, too",
    file: "src/worker/gpu-slot.ts",
    before: "return holders.some(({ gpu }) => gpu !== false && pciName(gpu) === pciName(bdf)) ? false : bdf;",
    after: "return holders.length < 0 ? false : bdf;",
    killers: [gpu("one VM at a time has the GPU"), gpu("a live VM that a worker takes over keeps its GPU")],
    why: "QEMU would end with a device that is busy, and the VM be blamed on the host",
  },
  {
    name: "placement: the next worker does not know who holds the GPU",
    file: "src/worker/launch.ts",
    before: 'gpu: (known?.epoch === epoch ? known.gpu : snapshot?.["gpu"]) ?? false,',
    after: "gpu: false,",
    killers: [gpu("a live VM that a worker takes over keeps its GPU")],
    why: "after every restart of a worker the GPU would be given away a second time",
  },
  {
    name: "placement: a host serves VMs that must be confidential without the means",
    file: "src/contract/placement.ts",
    before: 'const tees: readonly TeeNeed[] = tee === "none" ? ["none"] : ["none", tee];',
    after: 'const tees: readonly TeeNeed[] = ["none", tee === "none" ? "snp" : tee];',
    killers: [placement("a host looks in a VM's queue exactly when")],
    why: "a VM that asks for SEV-SNP must never start anywhere else",
  },
  {
    name: "placement: nobody looks again whether a VM gets what its request needs",
    file: "src/worker/vm-hardware.ts",
    before: "if (needs.tee !== undefined && needs.tee !== tee.kind)",
    after: "if (needs.tee === undefined && needs.tee !== tee.kind)",
    killers: [gpu("no VM is launched with less than its request needs")],
    why: "a host that is set up anew may get a VM that it could serve before",
  },
  {
    name: "placement: too few keys of a TDX host are taken for a full disk",
    file: "src/qemu/failure-patterns.ts",
    before: "/KVM_TDX_INIT_VM failed.*(?:No space left|busy)|",
    after: "/KVM_TDX_INIT_VM failed.*(?:busy)|",
    killers: [failures("a failed start is tee_exhausted")],
    why: "the operator would look for space on a disk that has plenty",
  },
  {
    name: "placement: doctor overlooks that a group holds more than the GPU",
    file: "src/worker/doctor/gpu-facts.ts",
    before: "driver === undefined || HARMLESS_DRIVERS.test(driver) ? [] : [{ bdf, driver }]",
    after: "[]",
    killers: [doctorTee("a GPU whose sound is the host's")],
    why: "every launch would fail with a group that is not viable",
  },
];
