import { expect, test } from "vitest";
import type { KnownVm } from "../../../src/queue/fleet-facts.ts";
import { type ComparisonFacts, compare } from "../../../src/worker/doctor/compare.ts";

const VM = "11111111-2222-4333-8444-555555555555";
const HOST = { hostId: "h1", stateId: "state-1", bootId: "boot-1" };
const TOKEN = "h1:state-1:boot-1:abc";
const PROCESS = { vmId: VM, epoch: 2, pid: 77, startTimeTicks: 5 };
const LAUNCH = { vmId: VM, epoch: 2, record: "good", port: 6_100 } as const;
const PORT = { port: 6_100, vmId: VM, epoch: 2, token: TOKEN };
const LEASE = { stateId: "state-1", bootId: "boot-1" };

type Record = Exclude<KnownVm["record"], "damaged" | undefined>;

function known(record: Partial<Record> | "damaged" | undefined, mark?: KnownVm["mark"]): ReadonlyMap<string, KnownVm> {
  const full = { state: "running", epoch: 2, host: "h1", token: TOKEN, port: 6_100 } as const;
  return new Map([[VM, { record: typeof record === "object" ? { ...full, ...record } : record, mark }]]);
}

type Queue = Exclude<ComparisonFacts["queue"], undefined>;

/** A host with one running VM on which everything agrees, and what a test changes of it. */
function facts(over: Partial<ComparisonFacts> = {}, queue: Partial<Queue> = {}): ComparisonFacts {
  return {
    host: HOST,
    workerLives: true,
    launches: [LAUNCH],
    processes: [PROCESS],
    quarantined: [],
    guard: { wanted: true, lives: true },
    queue: {
      vms: known({}),
      activeJobs: [{ vmId: VM, pool: "default", token: TOKEN }],
      ports: [PORT],
      lease: LEASE,
      ...queue,
    },
    ...over,
  };
}

const GONE = { launches: [], processes: [] };
const NO_QUEUE = { vms: new Map(), activeJobs: [], ports: [], lease: undefined };
const ALONE = { workerLives: false, guard: { wanted: true, lives: true } };

function found(given: ComparisonFacts): readonly (string | [string, string])[] {
  return compare(given)
    .filter(({ status }) => status !== "ok")
    .map(({ id, fix }) => (fix === undefined ? id : [id, fix.kind]));
}

test("where everything agrees there is nothing to tell but that", () => {
  expect(compare(facts()).map(({ id, status, text }) => [id, status, text])).toEqual([
    ["vms_agree", "ok", "1 VM, and all agree"],
    ["worker", "ok", "worker of host h1 is alive"],
  ]);
  expect(found(facts(GONE, NO_QUEUE))).toEqual(["lease_missing"]);
  expect(found(facts({ ...GONE, ...ALONE }, NO_QUEUE))).toEqual([]);
});

test.each<[string, ComparisonFacts, readonly (string | [string, string])[]]>([
  // Positive evidence, and only that, offers to end a process.
  ["ended", facts({}, { vms: known({ state: "completed" }) }), [["process_outlived", "end_process"]]],
  ["ended long ago", facts({}, { vms: known(undefined, "purged") }), [["process_outlived", "end_process"]]],
  [
    "launched again elsewhere",
    facts({}, { vms: known({ epoch: 3, host: "h2" }) }),
    [["process_outlived", "end_process"]],
  ],
  ["an older ending", facts({}, { vms: known({ state: "failed", epoch: 1 }) }), []],
  ["forgotten by Redis", facts({}, { vms: known(undefined) }), ["process_unknown"]],
  [
    "put back into the queue",
    facts({}, { vms: known({ state: "queued", host: null, token: null }) }),
    ["process_requeued"],
  ],
  ["being removed by its worker", facts({}, { vms: known({ state: "stopping" }, "removal") }), []],
  ["to be removed by nobody", facts(ALONE, { vms: known({}, "removal") }), [["removal_pending", "end_process"]]],
  ["a damaged record in Redis", facts({}, { vms: known("damaged") }), ["record_damaged"]],
  ["Redis away", facts({ queue: undefined }), []],
  ["no directory", facts({ launches: [] }, { activeJobs: [] }), ["process_without_directory"]],

  // Files: nothing is offered that a worker still needs to finish a launch.
  ["files of a live worker's launch", facts({ processes: [] }), []],
  ["files that a worker must finish", facts({ ...ALONE, processes: [] }), ["launch_unfinished"]],
  ["files while Redis is away", facts({ ...ALONE, processes: [], queue: undefined }), ["launch_unfinished"]],
  [
    "files of an ended VM",
    facts({ ...ALONE, processes: [] }, { vms: known({ state: "removed" }), activeJobs: [] }),
    [["files_left", "remove_directory"]],
  ],
  [
    "files of an ended VM whose job is not settled",
    facts({ ...ALONE, processes: [] }, { vms: known({ state: "removed" }) }),
    ["launch_unfinished"],
  ],
  [
    "files from before the intent",
    facts({ ...ALONE, processes: [], launches: [{ ...LAUNCH, record: "none" }] }),
    [["files_left", "remove_directory"]],
  ],
  ["a damaged record on disk", facts({ launches: [{ ...LAUNCH, record: "damaged" }] }), ["launch_damaged"]],
  ["a newer record on disk", facts({ launches: [{ ...LAUNCH, record: "newer" }] }), ["launch_newer"]],
  ["damaged ones set aside", facts({ quarantined: ["a", "b"] }), ["quarantine"]],

  // What Redis believes and this host does not have.
  ["a job and a port", facts(GONE), ["job_unknown", ["port_unused", "give_port"]]],
  ["a port alone", facts(GONE, { ...NO_QUEUE, lease: LEASE, ports: [PORT] }), [["port_unused", "give_port"]]],
  [
    "another worker's port",
    facts(GONE, { ...NO_QUEUE, lease: LEASE, ports: [{ ...PORT, token: "h2:state-2:boot-1:x" }] }),
    [],
  ],
  ["a record alone", facts(GONE, { ...NO_QUEUE, lease: LEASE, vms: known({}) }), ["record_without_launch"]],
  ["another host's record", facts(GONE, { ...NO_QUEUE, lease: LEASE, vms: known({ token: "h1:state-2:b:x" }) }), []],

  // Who is who.
  ["another machine of that id", facts({}, { lease: { ...LEASE, stateId: "state-2" } }), ["lease_of_another"]],
  ["a worker that hangs", facts({}, { lease: undefined }), ["lease_missing"]],
  ["no guard", facts({ guard: { wanted: true, lives: false } }), ["guard_dead"]],
  ["no guard wanted", facts({ guard: { wanted: false, lives: false } }), []],
  [
    "no guard and nothing to guard",
    facts({ ...GONE, workerLives: false, guard: { wanted: true, lives: false } }, NO_QUEUE),
    [],
  ],
])("%s", (_name, given, expected) => {
  expect(found(given)).toEqual(expected);
});

test("every problem says what to do, and a fix names exactly its thing", () => {
  const checks = compare(facts({ ...ALONE, processes: [PROCESS] }, { vms: known({ state: "completed" }) }));
  expect(checks.find(({ fix }) => fix !== undefined)?.fix).toEqual({ kind: "end_process", ...PROCESS });
  for (const { status, todo } of checks) if (status !== "ok") expect(todo).toMatch(/\.$/);
});
