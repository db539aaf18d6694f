import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { type Counting, NO_COUNTING } from "../runtime/metrics/meter.ts";
import type { VmQueue } from "./vm-queue.ts";
import type { VmStore } from "./vm-store.ts";
import type { VmUpkeep } from "./vm-upkeep.ts";

const BATCH = 200;

/**
 * Finishes what a process that died left half done, and what only time brings: jobs of accepted VMs, time limits,
 * retention. Runs in every API and worker; each step is idempotent, so that two sweepers at once are harmless.
 */
export class Sweeper {
  readonly #store: VmStore;
  readonly #upkeep: VmUpkeep;
  readonly #queue: VmQueue;
  readonly #logger: Logger;
  readonly #intervalMs: number;
  readonly #counting: Counting;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: {
    store: VmStore;
    upkeep: VmUpkeep;
    queue: VmQueue;
    logger: Logger;
    intervalMs: number;
    counting?: Counting;
  }) {
    this.#store = options.store;
    this.#upkeep = options.upkeep;
    this.#queue = options.queue;
    this.#logger = options.logger;
    this.#intervalMs = options.intervalMs;
    this.#counting = options.counting ?? NO_COUNTING;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  /** One round. Throws when Redis cannot be reached; the next round does the rest. */
  async sweep(): Promise<void> {
    // One record that cannot be read must not keep time limits and retention from happening.
    const steps = [
      this.#addMissingJobs(),
      this.#endOverdue(),
      this.#upkeep.purgeExpired(BATCH),
      this.#upkeep.groupFailures(BATCH),
    ];
    const failed = (await Promise.allSettled(steps)).find((step) => step.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      // Jitter, so that many sweepers do not do the same at the same moment.
      await delay(this.#intervalMs * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const startedMs = performance.now();
      await this.sweep().catch((error) => {
        this.#counting.count("drover_sweep_failures_total", {});
        this.#logger.warn({ err: error }, "a step of a sweep failed; the next one goes on");
      });
      this.#counting.observe("drover_sweep_seconds", {}, (performance.now() - startedMs) / 1_000);
    }
  }

  async #addMissingJobs(): Promise<void> {
    // An accept adds the job right after its script; to add it a second time would change nothing.
    await forEach(await this.#upkeep.pendingJobs({ ageMs: this.#intervalMs, count: BATCH }), async (vmId) => {
      const record = await this.#store.get(vmId);
      if (record === undefined || record.state !== "queued" || record.epoch > 0 || record.removal !== undefined) {
        await this.#upkeep.jobAdded(vmId);
        return;
      }
      await this.#queue.enqueue(record);
      this.#logger.info({ vmId }, "added the job of a VM whose API died after accepting it");
    });
  }

  async #endOverdue(): Promise<void> {
    await forEach(await this.#upkeep.dueDeadlines(BATCH), async (overdue) => {
      const outcome = await this.#store.requestRemoval({ ...overdue, by: "drover" });
      if (outcome.kind === "marked" && outcome.host !== undefined) {
        await this.#queue.notifyRemoval(outcome.host, overdue.vmId);
      }
      if (outcome.kind === "not_due") return;
      await this.#upkeep.forgetDeadline(overdue); // the mark is written: the host's reconcile does the rest
    });
  }
}

/** Goes through all of them; the first failure is thrown at the end, so that one VM does not keep the others waiting. */
async function forEach<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  for (const item of items) await act(item).catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}
