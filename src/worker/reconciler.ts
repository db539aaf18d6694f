import type { Logger } from "pino";
import type { RedisGeneration } from "../queue/generation.ts";
import type { PortSlots } from "../queue/port-slots.ts";
import type { RedisRun } from "../queue/redis-policy.ts";
import { type Counting, NO_COUNTING } from "../runtime/metrics/meter.ts";
import { tellForgottenEnds } from "./forgotten-ends.ts";
import type { Mutex } from "./mutex.ts";
import { type RecoverDeps, recoverDirectory, recoverUnknownJobs } from "./recover.ts";

/**
 * After a Redis that was started anew, hosts have this long to say what they run before anybody fetches: it may hold an
 * older state, in which a live VM still waits. They come back within a second (see `openRedis`).
 */
const SETTLE_MS = 2_500;
const AFTER_ERROR_MS = 1_000;
/** An end that is under way when Redis loses data may settle its job only after that. */
const FORGOTTEN_ENDS_MS = 10 * 60_000;

export interface ReconcilerDeps {
  readonly recover: RecoverDeps;
  readonly mutex: Mutex;
  readonly ports: Pick<PortSlots, "list" | "give">;
  readonly generation: Pick<RedisGeneration, "check">;
  /** Which Redis process answers; undefined where that cannot be told. */
  readonly redisRun: () => Promise<RedisRun | undefined>;
  /** Whether Redis knows of other hosts, which may run what it holds as waiting. */
  readonly hasOthers: () => Promise<boolean>;
  readonly intervalMs: number;
  readonly counting?: Counting;
  readonly logger: Logger;
}

/**
 * Brings queue, records, disk, process table and ports into agreement, in both directions: at start, after every
 * reconnect and every `intervalMs`. Until a reconnect has been reconciled nothing is fetched.
 */
export class Reconciler {
  readonly #deps: ReconcilerDeps;
  readonly #stopping = new AbortController();
  #wake = new AbortController();
  #loop: Promise<void> | undefined;
  /** Counts the losses of the connection: a round that began before the last one proves nothing. */
  #losses = 0;
  #agreedLosses = -1;
  #runId: string | undefined;
  /** Until then Redis may say of a launch that has ended that it lives. */
  #forgottenUntilMs = 0;

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
  }

  /** Whether everything has been compared since Redis was last out of reach. */
  get isCurrent(): boolean {
    return this.#agreedLosses === this.#losses;
  }

  /** The connection was lost: what Redis holds now is unknown. */
  noteLoss(): void {
    this.#losses += 1;
  }

  /** A round follows at once. */
  request(): void {
    this.#wake.abort();
  }

  /** Rounds from now on; the first one is for the caller to make. */
  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake.abort();
    await this.#loop;
  }

  /** One round. Rejects when Redis cannot be asked; the next round does the rest. */
  async round(): Promise<void> {
    const { recover, generation, mutex, logger } = this.#deps;
    const losses = this.#losses;
    const { runs } = recover;
    const told = await runs.agree();
    await this.#recoverStrays();
    await recoverUnknownJobs(recover);
    await this.#givePortsBack();
    const verdict = await generation.check();
    if (verdict !== "same")
      logger.error({ verdict, told }, "Redis lost data: every live VM of this host has told it again");
    const run = await this.#deps.redisRun();
    // For the first round there is no earlier one to compare with; a Redis that has run for long is no news then.
    const isNew = run !== undefined && run.id !== this.#runId && (this.#runId !== undefined || run.upForMs < SETTLE_MS);
    const nowMs = recover.clock.monotonicMs();
    if (isNew || verdict !== "same" || this.#agreedLosses === -1) this.#forgottenUntilMs = nowMs + FORGOTTEN_ENDS_MS;
    if (nowMs < this.#forgottenUntilMs) await tellForgottenEnds({ ...recover, mutex });
    if (isNew && (await this.#deps.hasOthers())) {
      logger.warn({ told }, "another Redis process answers; waiting for the other hosts before anything is fetched");
      await recover.clock.pause(SETTLE_MS, this.#stopping.signal).catch(() => undefined); // stopping: nothing is fetched
    }
    this.#runId = run?.id;
    this.#agreedLosses = losses;
    runs.wake();
  }

  async #run(): Promise<void> {
    const { recover, intervalMs, counting = NO_COUNTING, logger } = this.#deps;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await recover.clock.pause(intervalMs, this.#wake.signal).catch(() => undefined); // asked for: at once
      if (signal.aborted) return;
      this.#wake = new AbortController();
      const startedMs = recover.clock.monotonicMs();
      try {
        await this.round();
        counting.observe("drover_reconcile_seconds", {}, (recover.clock.monotonicMs() - startedMs) / 1_000);
      } catch (error) {
        counting.count("drover_reconcile_failures_total", {});
        logger.warn({ err: error }, "reconciling failed; it comes again");
        await recover.clock.pause(AFTER_ERROR_MS, signal).catch(() => undefined); // stopping: the loop ends
        if (!this.isCurrent) this.request();
      }
    }
  }

  /** Directories that nobody holds. Under the mutex, so that none of a fetch that is half way is taken for one. */
  async #recoverStrays(): Promise<void> {
    const { recover, mutex } = this.#deps;
    const { files, runs } = recover;
    const strays = await mutex.run(async () => (await files.list()).filter(({ vmId }) => !runs.hasVm(vmId)));
    for (const stray of strays) await mutex.run(() => recoverDirectory(recover, stray));
  }

  /** Ports that a launch of this state directory holds in Redis and nobody holds here. */
  async #givePortsBack(): Promise<void> {
    const { recover, ports, mutex, logger } = this.#deps;
    const { host, runs, files, machine } = recover;
    await mutex.run(async () => {
      const held = (await ports.list()).filter(({ token }) => token.startsWith(host.tokenPrefix));
      const strays = held.filter(({ vmId, token }) => !runs.has({ vmId, token }));
      if (strays.length === 0) return;
      const known = new Set((await files.list()).map(({ vmId }) => vmId));
      for (const stray of strays) {
        if (known.has(stray.vmId) || runs.hasVm(stray.vmId) || machine.livingOf(stray.vmId).length > 0) continue;
        await ports.give(stray, stray.port);
        logger.warn({ vmId: stray.vmId, port: stray.port }, "a port that no launch holds any more was given back");
      }
    });
  }
}
