import { randomUUID } from "node:crypto";
import { pino } from "pino";
import type { VmRecord } from "../../src/contract/vm-record.ts";
import type { VmSpec } from "../../src/contract/vm-request.ts";
import type { QemuEnd } from "../../src/qemu/qemu-end.ts";
import type { VmOutputs } from "../../src/qemu/vm-outputs.ts";
import { type VmPaths, vmPaths } from "../../src/qemu/vm-paths.ts";
import type { ClaimedJob } from "../../src/queue/job-claims.ts";
import type { MoveOutcome, RemovalMark } from "../../src/queue/launch-moves.ts";
import type { ClaimOutcome, ReassertOutcome } from "../../src/queue/ownership.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { fixedKeys } from "../../src/runtime/key-ring.ts";
import { NO_TRACER } from "../../src/runtime/tracing/tracer.ts";
import { BootGate } from "../../src/worker/boot-gate.ts";
import { Breaker } from "../../src/worker/breaker.ts";
import type { EndPlan } from "../../src/worker/end-plan.ts";
import { FailPoints } from "../../src/worker/fail-points.ts";
import { GpuSlot } from "../../src/worker/gpu-slot.ts";
import type { LaunchFiles } from "../../src/worker/launch-files.ts";
import { type LocalRecord, newLocalRecord } from "../../src/worker/local-record.ts";
import type { LiveQemu, LivingLaunch, Machine } from "../../src/worker/machine.ts";
import { MemoryRoom } from "../../src/worker/memory-room.ts";
import { Mutex } from "../../src/worker/mutex.ts";
import type { RecoverDeps } from "../../src/worker/recover.ts";
import type { RunVmDeps } from "../../src/worker/run-vm.ts";
import type { Stores } from "../../src/worker/stores.ts";
import { VmRuns } from "../../src/worker/vm-runs.ts";
import { FakeClock } from "./fake-clock.ts";
import { waitFor } from "./wait-for.ts";

const HOST = { hostId: "host-a", stateId: randomUUID(), bootId: "boot-1" } as const;
const TOKEN_PREFIX = `${HOST.hostId}:${HOST.stateId}:`;
const STATE_DIR = "/state";
const NO_OUTPUT: VmOutputs = { console: "", qemu: "", result: Buffer.alloc(0) };

/** A QEMU that answers and goes on until a test says how it ends. */
export interface FakeQemu extends LiveQemu {
  end(how: QemuEnd): void;
}

/**
 * The worker's own code on a machine, a disk and a Redis that only note, in order, what is asked of them (`trace`), and
 * answer what a test has set in `answers`.
 */
export function openFakeWorker({
  gpu = false,
  memoryBytes = 2 ** 40,
  env = {},
}: {
  gpu?: string | false;
  memoryBytes?: number;
  env?: Readonly<Record<string, string>>;
} = {}) {
  const clock = new FakeClock();
  const logger = pino({ level: "silent" });
  const trace: string[] = [];
  const note = async (what: string) => void trace.push(what);
  const living = new Map<string, LivingLaunch[]>();
  const qemus: FakeQemu[] = [];
  const records = new Map<string, LocalRecord>();
  const plans = new Map<string, EndPlan>();
  const guarded = new Set<string>();
  let tokens = 0;
  const answers = {
    claim: (): ClaimOutcome => ({ kind: "claimed", state: "running", prepared: true }),
    reassert: (): ReassertOutcome => ({ kind: "reasserted", lost: "record" }),
    move: (): MoveOutcome => "done",
    mark: (): RemovalMark | undefined => undefined,
    record: (): VmRecord | undefined => undefined,
    stopQemu: async (): Promise<void> => undefined,
  };

  const startQemu = ({ vmId, pid }: { vmId: string; pid: number }): FakeQemu => {
    let report: (end: QemuEnd) => void = () => undefined;
    const ended = new Promise<QemuEnd>((resolve) => {
      report = resolve;
    });
    const qemu: FakeQemu = {
      pid,
      startTimeTicks: 1,
      ended,
      end: report,
      drainOutputs: async () => NO_OUTPUT,
      detach: () => note("QEMU left"),
      resume: async () => true,
      async stop() {
        if (!living.has(vmId)) return { rung: "quit", tookMs: 0 };
        await answers.stopQemu();
        living.delete(vmId);
        report({ kind: "exited", exitCode: 0, signal: null, reason: "host-qmp-quit" });
        await note("QEMU ended");
        return { rung: "quit", tookMs: 1 };
      },
    };
    qemus.push(qemu);
    return qemu;
  };

  const machine: Machine = {
    makeGuest: () => note("guest files made"),
    isPortFree: async () => true,
    start: () => Promise.reject(new Error("nothing is launched here")),
    async attach({ vmId, pid }) {
      await note("QEMU taken over");
      return startQemu({ vmId, pid });
    },
    livingOf: (vmId) => living.get(vmId) ?? [],
    isAlive: (wanted) =>
      [...living.values()]
        .flat()
        .some(({ pid, startTimeTicks }) => pid === wanted.pid && startTimeTicks === wanted.startTimeTicks),
    async end(identity) {
      for (const [vmId, found] of living) if (found.some(({ pid }) => pid === identity.pid)) living.delete(vmId);
      await note("process ended");
    },
    readOutputs: async () => NO_OUTPUT,
  };

  const files: LaunchFiles = {
    paths: ({ vmId, epoch }) => vmPaths({ stateDir: STATE_DIR, vmId, epoch }),
    list: async () => [...records.values()].map(({ vmId, epoch }) => ({ vmId, epoch })),
    makeDirectory: async () => undefined,
    async writeRecord({ record }, written) {
      records.set(record, written);
      await note("record written");
    },
    readRecord: async ({ record }) => records.get(record),
    async writePlan({ end }, plan) {
      plans.set(end, plan);
      await note(`plan written: ${plan.outcome}`);
    },
    readPlan: async ({ end }) => plans.get(end),
    wasGuarded: async ({ guarded: path }) => guarded.has(path),
    forgetGuarded: async () => undefined,
    removeSecrets: () => note("secrets removed"),
    removeDisk: () => note("disk removed"),
    async removeDirectory({ record, end }) {
      records.delete(record);
      plans.delete(end);
      await note("record removed");
    },
    setAside: async () => "quarantine",
  };

  const stores: Stores = {
    launches: {
      freePorts: 10,
      countFreePorts: async () => undefined,
      prepare: () => Promise.reject(new Error("nothing is launched here")),
      async move(_launch, { to, leave }) {
        await note(`told: ${to}${leave === undefined ? "" : ", port given back"}`);
        return answers.move();
      },
      changePort: async () => undefined,
      givePort: () => note("port given back"),
      sealedSecrets: async () => undefined,
      async marked(vmIds) {
        const mark = answers.mark();
        return new Map(mark === undefined ? [] : vmIds.map((vmId) => [vmId, mark]));
      },
    },
    ownership: {
      check: async () => ({ agrees: true, mark: answers.mark() }),
      async claim() {
        await note("claimed");
        return answers.claim();
      },
      async reassert() {
        await note("reasserted");
        return answers.reassert();
      },
      note: async (_vm, { type }) => note(`told: ${type}`),
      snapshot: async () => undefined,
    },
    store: {
      get: async () => answers.record(),
      list: async () => ({ records: [], next: null }),
      requestRemoval: async () => ({ kind: "marked" }),
    },
    claims: {
      fetch: async () => undefined,
      unknown: async () => [],
      settledAs: async () => ({ state: "none", attemptsMade: 0 }),
      nextDelayedAtMs: async () => undefined,
      complete: () => note("job settled: completed"),
      fail: () => note("job settled: failed, again"),
      failForGood: () => note("job settled: failed"),
      giveBack: () => note("job given back"),
      extendLocks: async () => undefined,
    },
    hosts: { liveHosts: async () => [] },
  };

  const leaving = new AbortController();
  const giveUp = new AbortController();
  const { config } = loadConfig({ HOME: STATE_DIR, ...env });
  const deps: RunVmDeps = {
    ...stores,
    config,
    clock,
    logger,
    mutex: new Mutex(),
    breaker: new Breaker({ clock, onChanged: () => undefined }),
    failPoints: new FailPoints("", logger),
    keyRing: fixedKeys(undefined),
    tracer: NO_TRACER,
    files,
    machine,
    tee: { kind: "none" } as RunVmDeps["tee"],
    gpu: new GpuSlot({ bdf: gpu, clock }),
    memory: new MemoryRoom(config, memoryBytes),
    address: "10.0.0.1",
    forwardBind: undefined,
    console: { append: async () => undefined } as unknown as RunVmDeps["console"],
    boots: new BootGate(1),
    leaving: leaving.signal,
    giveUp: giveUp.signal,
    mayLaunch: () => true,
  };
  const runs = new VmRuns(deps);
  const newToken = () => `${TOKEN_PREFIX}${HOST.bootId}:${++tokens}`;
  const recover: RecoverDeps = { ...deps, runs, host: { ...HOST, tokenPrefix: TOKEN_PREFIX, newToken } };

  return {
    clock,
    trace,
    answers,
    living,
    qemus,
    records,
    plans,
    deps,
    runs,
    recover,
    leaving,
    giveUp,
    /** Waits until no VM is in the worker's hands. Throws with what has happened so far when that does not come. */
    async ended(): Promise<void> {
      await waitFor(() => runs.size === 0, { timeoutMs: 3_000, what: "every VM to be ended" }).catch((cause) => {
        throw new Error(`not ended: ${trace.join(", ")}`, { cause });
      });
    },
    /** A launch that the worker before has left on the disk; with a pid, its QEMU lives. */
    leave(over: Partial<LocalRecord> = {}, spec: VmSpec = {}): { vmId: string; epoch: number; paths: VmPaths } {
      const vmId = randomUUID();
      const job: ClaimedJob = {
        vmId,
        pool: "default",
        epoch: 1,
        token: newToken(),
        data: { ok: true, value: { v: 1, vmId, owner: "local", pool: "default", spec } },
      };
      const running = { state: "running", runningAtMs: 1, port: 6100, pid: 100, startTimeTicks: 1 } as const;
      const record: LocalRecord = { ...newLocalRecord(HOST, job, clock.nowMs()), ...running, ...over };
      const paths = files.paths(job);
      records.set(paths.record, record);
      if (record.pid !== null && record.startTimeTicks !== null)
        living.set(vmId, [{ pid: record.pid, startTimeTicks: record.startTimeTicks, epoch: record.epoch }]);
      return { vmId, epoch: 1, paths };
    },
  };
}

export type FakeWorker = ReturnType<typeof openFakeWorker>;
