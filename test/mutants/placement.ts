import { type Mutant, tests } from "./mutant.ts";

const gpu = tests("unit", "unit/worker/gpu");
const placement = tests("unit", "unit/contract/placement");
const room = tests("unit", "unit/worker/room");
const watch = tests("unit", "unit/worker/pool-watch");
const waiting = tests("unit", "unit/producer/waiting");
const queues = tests("redis", "redis/placement");
const doctorTee = tests("unit", "unit/worker/doctor-tee");
const failures = tests("unit", "unit/qemu-runtime/classify-failure");

/** Breaks of where a VM may run, and with what. */
export const PLACEMENT_MUTANTS: readonly Mutant[] = [
  {
    name: "placement: VMs are fetched that do not fit",
    file: "src/worker/fetch-loop.ts",
    before: "return fitting([...inTurn(gpu), ...inTurn(others)]);",
    after: "return [...inTurn(gpu), ...inTurn(others)];",
    killers: [
      gpu("while the GPU is held nobody looks at the pools that ask for it"),
      room("nothing is fetched from a pool whose VMs do not fit"),
    ],
    why: "a VM would be fetched only to fail, while another host may have room for it",
  },
  {
    name: "placement: VMs that need the GPU come last",
    file: "src/worker/fetch-loop.ts",
    before: "return fitting([...inTurn(gpu), ...inTurn(others)]);",
    after: "return fitting([...inTurn(others), ...inTurn(gpu)]);",
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
    killers: [placement("a host looks from its start on at all that it serves")],
    why: "a VM that asks for SEV-SNP must never start anywhere else",
  },
  {
    name: "placement: one label of several is enough",
    file: "src/contract/placement.ts",
    before: "Object.entries(hostLabels).every(",
    after: "Object.entries(hostLabels).some(",
    killers: [placement("a host serves exactly the queues of its pools whose needs it meets")],
    why: "a VM that needs zone a and an SSD would run in zone b",
  },
  {
    name: "placement: the order of labels makes another queue",
    file: "src/contract/placement.ts",
    before: "Object.keys(hostLabels).sort()",
    after: "Object.keys(hostLabels)",
    killers: [placement("labels in another order are the same need")],
    why: "VMs that ask for the same would wait in two queues, and take two turns",
  },
  {
    name: "placement: hosts are not told of a queue that has come",
    file: "src/queue/vm-queue.ts",
    before: "    await this.#jobAdded(vm);\n    await this.#tellHosts(vm.pool);",
    after: "    await this.#jobAdded(vm);",
    killers: [queues("each VM comes to a host that meets its needs and to no other")],
    why: "the first VM of every combination would wait for seconds",
  },
  {
    name: "placement: a queue goes while the job of an accepted VM is on its way",
    file: "src/queue/lua/retire-pool-15.lua",
    before: 'if redis.call("ZCARD", KEYS[2]) > 0 then return 0 end',
    after: "",
    killers: [queues("a queue of a class or of labels goes with its last job")],
    why: "nobody would look at the queue into which the job comes then",
  },
  {
    name: "placement: of very many queues the same ones are asked in every round",
    file: "src/worker/pool-watch.ts",
    before: "this.#askedFrom = found.indexOf(last) + 1;",
    after: "this.#askedFrom = 0;",
    killers: [watch("of very many queues those are looked at in which something waits")],
    why: "VMs whose queue comes late in the order of names would wait for ever",
  },
  {
    name: "placement: what QEMU itself takes is not counted",
    file: "src/worker/memory-room.ts",
    before: "sum + bytes + QEMU_BYTES",
    after: "sum + bytes",
    killers: [room("a VM fits while all guests, with what each QEMU takes")],
    why: "a host full of small VMs would meet the kernel's out-of-memory killer",
  },
  {
    name: "placement: a VM that was taken over counts with what the host is set to now",
    file: "src/worker/host-room.ts",
    before: "memoryBytes ?? memory.sizeOf(spec)?.bytes ?? 0",
    after: "memoryBytes === undefined ? 0 : (memory.sizeOf(spec)?.bytes ?? 0)",
    killers: [room("a live VM that a worker takes over counts with what it was launched with")],
    why: "after a change of the configuration a host would take more than it holds",
  },
  {
    name: "placement: VMs that are never confidential take keys",
    file: "src/worker/host-room.ts",
    before: 'vmTee(spec, tee).kind !== "none"',
    after: 'tee.kind !== "none"',
    killers: [room("a VM that says never confidential takes no key")],
    why: "an SEV-SNP host would run fewer VMs than it can",
  },
  {
    name: "placement: a host that an operator has cordoned counts as one with room",
    file: "src/producer/waiting.ts",
    before: 'if (!isWantedOpen(wish)) return { reason: "hosts_cordoned" };',
    after: "",
    killers: [waiting("its only hosts are cordoned")],
    why: "a VM would be said to start soon that nobody takes",
  },
  {
    name: "placement: hosts that do not live count among those that fit",
    file: "src/producer/host-fit.ts",
    before: "const live = fitting.filter(({ lease }) => lease !== undefined);",
    after: "const live = fitting;",
    killers: [waiting("whoever could is silent")],
    why: "nobody would be warned that no worker runs",
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
