import { type Mutant, tests } from "./mutant.ts";

const reaper = tests("redis", "redis/reaper");
const REAPER = "src/queue/reaper.ts";

/** Breaks of what talks to Redis. */
export const QUEUE_MUTANTS: readonly Mutant[] = [
  {
    name: "the reaper counts the time in which it was cut off itself",
    file: REAPER,
    before: "      this.#countAnew();\n    this.#lookedAt = endedAt;",
    after: "      this.#seenAt.size;\n    this.#lookedAt = endedAt;",
    killers: [reaper("a reaper that was cut off itself counts anew"), reaper("a look that hung is a gap as well")],
    why: "after an outage of Redis the first reaper to be back would take every VM from every host",
  },
  {
    name: "the reaper counts on when it could not reach Redis",
    file: REAPER,
    before: "      this.#countAnew();\n      throw error;",
    after: "      throw error;",
    killers: [reaper("a round that failed is a reaper that could not reach Redis")],
    why: "as above, for an outage that is shorter than a gap",
  },
  {
    name: "the reaper counts from when the lease lapsed",
    file: REAPER,
    before: "Math.max(seenAt, endedAt - sinceRenewalMs(host))",
    after: "endedAt",
    killers: [reaper("silence counts from the last renewal")],
    why: "a dead host's VMs would stand still for a lease longer than its policy says",
  },
  {
    name: "the reaper reaps under `hold`",
    file: REAPER,
    before: 'policy === undefined || policy.lost === "hold"',
    after: "policy === undefined",
    killers: [reaper("the VMs of a lost host that holds its VMs are not touched")],
    why: "under `hold` nothing runs twice, whatever happens",
  },
  {
    name: "a fetch that was answered late is forgotten",
    file: "src/queue/job-claims.ts",
    before: "      else if (claimed !== undefined) this.#onLate(claimed);\n",
    after: "",
    killers: [tests("redis", "redis/job-claims")("a job that comes when nobody waits for it is handed over")],
    why: "the job would be active and nobody's until the worker starts again",
  },
  {
    name: "the sweeper adds the job of a VM that has ended",
    file: "src/queue/sweeper.ts",
    before: 'record === undefined || record.state !== "queued" || record.epoch > 0 || record.removal !== undefined',
    after: "record === undefined",
    killers: [tests("redis", "redis/barred-launches")("a sweeper adds the job of a VM whose API died")],
    why: "a removed VM would be in the queue again",
  },
];
