import { describe, expect, test } from "vitest";
import type { VmRecord } from "../../../src/contract/vm-record.ts";
import type { ClaimedJob } from "../../../src/queue/job-claims.ts";
import type { EndPlan } from "../../../src/worker/end-plan.ts";
import { recoverDirectory, recoverLeftovers, recoverUnknownJobs } from "../../../src/worker/recover.ts";
import { type FakeWorker, openFakeWorker } from "../../helpers/fake-worker.ts";
import { waitFor } from "../../helpers/wait-for.ts";

/** Lets the stories that were begun go on until something of them shows; time passes meanwhile. */
async function told(worker: FakeWorker, what: string): Promise<void> {
  await waitFor(
    () => {
      worker.clock.advance(1_000);
      return worker.trace.some((entry) => entry.includes(what));
    },
    { timeoutMs: 2_000, what: `"${what}" in ${JSON.stringify(worker.trace)}` },
  );
}

const ends = ({ trace }: FakeWorker) => trace.filter((what) => /ended|plan/.test(what));

/** As ioredis rejects what Redis refuses. */
function refusal(message: string): Error {
  const error = new Error(message);
  error.name = "ReplyError";
  return error;
}

const PLAN: EndPlan = {
  v: 1,
  outcome: "completed",
  reason: "guest_shutdown",
  cause: null,
  exitCode: 0,
  resultData: null,
  delayMs: 0,
  attemptsMade: 0,
  avoidUntilMs: null,
  endedAtMs: 1,
  crashes: [],
  tail: { console: "", qemu: "" },
};

describe("a Redis that has lost the last moves is no evidence against a VM that runs:", () => {
  test.each(["preparing", "starting"] as const)("it says that the launch is %s", async (state) => {
    const worker = openFakeWorker();
    const left = worker.leave();
    worker.answers.claim = () => ({ kind: "claimed", state, prepared: true });
    await recoverDirectory(worker.recover, left);
    await told(worker, "vm.adopted");
    expect(ends(worker)).toEqual([]);
    expect(worker.living.size).toBe(1);
  });

  test("it has never heard of the launch", async () => {
    const worker = openFakeWorker();
    const left = worker.leave();
    worker.answers.claim = () => ({ kind: "claimed", state: "queued", prepared: false });
    await recoverDirectory(worker.recover, left);
    await told(worker, "vm.adopted");
    expect(worker.trace).toContain("reasserted");
    expect(ends(worker)).toEqual([]);
  });

  test("nor against an end that stands on the disk", async () => {
    const worker = openFakeWorker();
    const left = worker.leave();
    worker.living.clear();
    worker.plans.set(left.paths.end, PLAN);
    worker.answers.claim = () => ({ kind: "claimed", state: "queued", prepared: false });
    await recoverDirectory(worker.recover, left);
    await worker.runs.allDone();
    expect(worker.trace).toContain("told: completed, port given back");
    expect(worker.trace).not.toContain("job given back");
  });
});

describe("a Redis or a disk that refuses while a VM is taken over does it no harm:", () => {
  test("its secrets cannot be asked for", async () => {
    const worker = openFakeWorker();
    const left = worker.leave();
    worker.answers.record = () => ({ hasSecrets: true, epoch: 1, attempts: 3 }) as VmRecord;
    let refused = 0;
    worker.deps.launches.sealedSecrets = async () => {
      refused += 1;
      if (refused < 4) throw refusal("LOADING Redis is loading the dataset in memory");
      return undefined;
    };
    await recoverDirectory(worker.recover, left);
    await told(worker, "vm.adopted");
    expect(refused).toBe(4);
    expect(ends(worker)).toEqual([]);
  });

  test("its console so far cannot be read", async () => {
    const worker = openFakeWorker();
    const left = worker.leave({}, { probe: { type: "console", text: "login:" } });
    worker.deps.machine.readOutputs = () => Promise.reject(new Error("EIO"));
    await recoverDirectory(worker.recover, left);
    await told(worker, "vm.adopted");
    expect(ends(worker)).toEqual([]);
  });

  test("its monitor cannot be opened", async () => {
    const worker = openFakeWorker();
    const left = worker.leave();
    const { attach } = worker.deps.machine;
    let tries = 0;
    worker.deps.machine.attach = (options) => (++tries < 3 ? Promise.reject(new Error("EMFILE")) : attach(options));
    await recoverDirectory(worker.recover, left);
    await told(worker, "vm.adopted");
    expect(ends(worker)).toEqual([]);
  });
});

describe("a stop that was under way when its worker died has done its work", () => {
  test("released: the VM goes back to the queue and no attempt is used, though Redis never heard of the stop", async () => {
    const worker = openFakeWorker();
    const left = worker.leave({ stopReason: "released" });
    worker.living.clear();
    await recoverDirectory(worker.recover, left);
    await worker.runs.allDone();
    expect(worker.trace).toEqual(expect.arrayContaining(["plan written: released", "job given back"]));
  });

  test("boot_timeout: the launch failed by that, and not because QEMU vanished", async () => {
    const worker = openFakeWorker();
    worker.deps.files.removeSecrets = () => new Promise(() => undefined);
    const left = worker.leave({ stopReason: "boot_timeout" });
    worker.living.clear();
    await recoverDirectory(worker.recover, left);
    await told(worker, "plan written");
    expect([...worker.plans.values()][0]?.cause?.code).toBe("boot_timeout");
  });
});

describe("two launches of one VM on one host", () => {
  test("the end of the earlier one does not touch the process of the later one", async () => {
    const worker = openFakeWorker();
    const left = worker.leave();
    const later = { pid: 200, startTimeTicks: 1, epoch: 2 };
    worker.living.set(left.vmId, [later]);
    worker.plans.set(left.paths.end, PLAN);
    await recoverDirectory(worker.recover, left);
    await worker.runs.allDone();
    expect(worker.living.get(left.vmId)).toEqual([later]);
  });

  test("nor does that of one that counts no more and whose own process is dead", async () => {
    const worker = openFakeWorker();
    const left = worker.leave({ pid: null, startTimeTicks: null });
    const later = { pid: 200, startTimeTicks: 1, epoch: 2 };
    worker.living.set(left.vmId, [later]);
    worker.answers.claim = () => ({ kind: "refused", state: "running" });
    worker.answers.move = () => "not_owner";
    worker.answers.reassert = () => ({ kind: "superseded", epoch: 2 });
    await recoverDirectory(worker.recover, left);
    await worker.runs.allDone();
    expect(worker.living.get(left.vmId)).toEqual([later]);
    expect(worker.trace).toContain("record removed");
  });

  test("are taken one after the other, the oldest first", async () => {
    const worker = openFakeWorker();
    const { vmId } = worker.leave();
    const seen: number[] = [];
    worker.deps.files.list = async () => [3, 1, 2].map((epoch) => ({ vmId, epoch }));
    let reading = 0;
    worker.deps.files.readRecord = async ({ dir }) => {
      expect(++reading, "one at a time").toBe(1);
      seen.push(Number(dir.split("/").at(-1)));
      await new Promise((resolve) => setImmediate(resolve));
      reading -= 1;
      throw new Error("EIO");
    };
    await recoverLeftovers(worker.recover);
    expect(seen).toEqual([1, 2, 3]);
  });
});

test("an unknown job that the fetch loop takes in that very moment is left to it", async () => {
  const worker = openFakeWorker();
  const left = worker.leave();
  const record = worker.records.get(left.paths.record);
  if (record === undefined) throw new Error("no record");
  worker.records.clear();
  const job: ClaimedJob = { ...left, pool: "default", token: record.token, data: { ok: true, value: record.job } };
  worker.deps.claims.unknown = async () => {
    // The answer to its fetch comes now: the loop's next turn under the mutex is before ours.
    void worker.deps.mutex.run(async () => {
      worker.records.set(left.paths.record, record);
      await recoverDirectory(worker.recover, left);
    });
    return [job];
  };
  await recoverUnknownJobs(worker.recover);
  await told(worker, "vm.adopted");
  expect(worker.trace.filter((what) => what === "claimed")).toHaveLength(1);
  expect(ends(worker)).toEqual([]);
});

test("a failed VM that was retried by hand, before its host could clear up, stays in the queue", async () => {
  const worker = openFakeWorker();
  const left = worker.leave();
  worker.living.clear();
  worker.plans.set(left.paths.end, { ...PLAN, outcome: "failed", reason: "guest_panic" });
  worker.answers.claim = () => ({ kind: "refused", state: "queued" });
  worker.answers.move = () => "not_owner";
  worker.answers.record = () =>
    ({ state: "queued", epoch: 1, attempts: 3, launches: [], crashes: [] }) as unknown as VmRecord;
  await recoverDirectory(worker.recover, left);
  await worker.runs.allDone();
  expect(worker.trace).not.toContain("reasserted");
  expect(worker.trace.filter((what) => what.startsWith("job"))).toEqual([]);
  expect(worker.records.size).toBe(0);
});
