import { type Mutant, tests } from "./mutant.ts";

const index = tests("redis", "redis/failure-index");
const http = tests("redis", "redis/http-failures");
const forensics = tests("unit", "unit/worker/forensics");
const digests = tests("unit", "unit/qemu-runtime/file-digest");
const RECOUNT = index("whatever happens to VMs, the index of failures says what a recount of all records says");
const ROUTES = "src/producer/routes/failures.ts";

/** Breaks of what is kept of failures. */
export const FAILURE_MUTANTS: readonly Mutant[] = [
  {
    name: "failures: a VM that is retried by hand stays in its group",
    file: "src/queue/lua/retry-13.lua",
    before: "leaveFailed(KEYS[1], KEYS[3], args.vmId)\n",
    after: "",
    killers: [RECOUNT, http("a group is retried: one's own VMs only")],
    why: "the list of failures would grow for ever, and a retry of a group would try what runs",
  },
  {
    name: "failures: a VM that is purged stays in its group",
    file: "src/queue/lua/purge-17.lua",
    before: "  leaveFailed(KEYS[1], KEYS[2], args.vmId)\n",
    after: "",
    killers: [RECOUNT],
    why: "Redis would fill with the names of VMs that are gone",
  },
  {
    name: "failures: a poisoned VM is in no group",
    file: "src/queue/lua/include/takeback.lua",
    before: "    noteFailed(KEYS[1], KEYS[3], args.vmId, now)\n",
    after: "",
    killers: [RECOUNT],
    why: "nobody would see the VM that brings workers down",
  },
  {
    name: "failures: a submitter retries everybody's",
    file: ROUTES,
    before: 'owner, kinds: ["vms"]',
    after: 'owner: undefined, kinds: ["vms"]',
    killers: [http("a group is retried: one's own VMs only")],
    why: "the ids of another owner's VMs would be told",
  },
  {
    name: "failures: a submitter dismisses everybody's",
    file: ROUTES,
    before: 'owner, kinds: ["vms", "again"]',
    after: 'owner: undefined, kinds: ["vms", "again"]',
    killers: [http("dismissed failures are off the list: one's own only")],
    why: "another owner would not see what failed",
  },
  {
    name: "failures: a VM that is removed stays in its group",
    file: "src/queue/lua/remove-15.lua",
    before: "  leaveFailed(KEYS[1], KEYS[3], args.vmId)\n",
    after: "",
    killers: [RECOUNT, http("dismissed failures are off the list")],
    why: "a VM that can never run again would ask for attention until it is purged",
  },
  {
    name: "failures: what is kept of a launch has no bound",
    file: "src/worker/forensics.ts",
    before: "return TAIL_BYTES.map(withTails).find(fits) ??",
    after: "return TAIL_BYTES.map(withTails)[0] ??",
    killers: [forensics("however much was printed, and whatever, it stays within its bound")],
    why: "a console of control characters would take six times as much of Redis",
  },
  {
    name: "failures: digests are computed each time",
    file: "src/qemu/file-digest.ts",
    before: "if (known !== undefined) return",
    after: "if (known === path) return",
    killers: [digests("a digest is computed once for each content of a file")],
    why: "a storm of failures would read the disk image again and again, beside the VMs that run",
  },
  {
    name: "failures: a storm of failures waits in full",
    file: "src/worker/launch-evidence.ts",
    before: "this.#waiting >= WAITING_MAX || ",
    after: "",
    killers: [forensics("launches are looked at one after the other, and a storm of failures is cut")],
    why: "memory of the worker and work for hours, all for the same answer",
  },
];
