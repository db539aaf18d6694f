import { type Mutant, tests } from "./mutant.ts";

const NOT_THE_VM = tests("qemu", "qemu/attach")("what is not the VM of the record is left alone");
const processes = tests("unit", "unit/qemu-runtime/processes");
const ATTACH = "src/qemu/attach-qemu.ts";

/** Breaks of what knows processes and QEMU. */
export const QEMU_MUTANTS: readonly Mutant[] = [
  {
    name: "a pid counts without its start time",
    file: "src/runtime/process-identity.ts",
    before: "return status.startTimeTicks === startTimeTicks && !isDead;",
    after: "return !isDead;",
    killers: [
      processes("a living process is known by pid and start time, and by both only"),
      processes("a stranger with our pid is never signalled"),
    ],
    why: "pids are used again: a stranger would be killed",
  },
  {
    name: "an attach does not compare the boot",
    file: ATTACH,
    before: "if (options.bootId !== bootId()) throw",
    after: "if (bootId() === undefined) throw",
    killers: [NOT_THE_VM],
    why: "after a restart of the machine pid and start time may name a stranger",
  },
  {
    name: "an attach does not ask QEMU for its uuid",
    file: ATTACH,
    before: "if (UUID !== options.vmId) throw",
    after: "if (UUID === undefined) throw",
    killers: [NOT_THE_VM],
    why: "another VM would be supervised, and stopped, in the place of this one",
  },
  {
    name: "a zombie counts as alive",
    file: "src/runtime/process-identity.ts",
    before: 'status.state === "X" || (status.state === "Z" && status.threads <= 1)',
    after: 'status.state === "X"',
    killers: [processes("a zombie is dead")],
    why: "the end of a VM whose parent does not reap it would never be proved",
  },
];
