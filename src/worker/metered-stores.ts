import { z } from "zod";
import type { VmEventType } from "../contract/vm-event.ts";
import type { LaunchIdentity, Move, MoveOutcome } from "../queue/launch-moves.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Counting } from "../runtime/metrics/meter.ts";
import type { Stores } from "./stores.ts";

/** What of an event says how a launch ended. */
const Told = z.object({
  cause: z.object({ code: z.string() }).nullish(),
  reason: z.string().optional(),
});

/** When a launch came into its phases, in monotonic ms. */
interface LaunchTimes {
  readonly fetchedMs: number;
  phaseMs: number;
}

/** States that end a phase of a launch, with the phase's name. */
const PHASES = { starting: "preparing", running: "starting", ready: "booting" } as const;
const ENDS = ["completed", "removed", "expired", "failed", "retrying", "queued"];

/**
 * The stores of a worker, which count what goes through them: fetches, phases and ends of launches, and what Redis
 * refused. The worker itself knows nothing of it.
 */
export class MeteredStores {
  readonly #counting: Counting;
  readonly #clock: Clock;
  /** What was fetched last; under the host's mutex nothing else is fetched before it is prepared. */
  #fetched: { readonly token: string; readonly atMs: number } | undefined;
  readonly #times = new WeakMap<LaunchIdentity, LaunchTimes>();

  constructor({ counting, clock }: { readonly counting: Counting; readonly clock: Clock }) {
    this.#counting = counting;
    this.#clock = clock;
  }

  claims<T extends Stores["claims"]>(claims: T): T {
    return changed<Stores["claims"], T>(claims, {
      fetch: async (pool: string, token: string) => {
        const job = await claims.fetch(pool, token).catch((error: unknown) => {
          this.#counting.count("drover_fetches_total", { outcome: "error" });
          throw error;
        });
        this.#counting.count("drover_fetches_total", { outcome: job === undefined ? "empty" : "job" });
        if (job === undefined) return job;
        this.#fetched = { token: job.token, atMs: this.#clock.monotonicMs() };
        if (job.epoch === 1 && job.addedAtMs !== undefined) this.#phase("queued", this.#clock.nowMs() - job.addedAtMs);
        return job;
      },
    });
  }

  launches<T extends Stores["launches"]>(launches: T): T {
    return changed<Stores["launches"], T>(launches, {
      prepare: async (launch, fields) => {
        const outcome = await launches.prepare(launch, fields);
        const { kind } = outcome;
        if (kind === "not_owner" || kind === "no_record" || kind === "wrong_state")
          this.#counting.count("drover_fenced_writes_total", { action: "prepare", why: kind });
        if (kind === "prepared") {
          const nowMs = this.#clock.monotonicMs();
          const fetchedMs = this.#fetched?.token === launch.token ? this.#fetched.atMs : nowMs;
          this.#times.set(launch, { fetchedMs, phaseMs: nowMs });
        }
        return outcome;
      },
      move: async (launch, move) => {
        const outcome = await launches.move(launch, move);
        this.#noteMove(launch, move, outcome);
        return outcome;
      },
    });
  }

  ownership<T extends Stores["ownership"]>(ownership: T): T {
    return changed<Stores["ownership"], T>(ownership, {
      claim: async (identity) => {
        const outcome = await ownership.claim(identity);
        this.#counting.count("drover_adoptions_total", { outcome: outcome.kind });
        return outcome;
      },
      reassert: async (live) => {
        const outcome = await ownership.reassert(live);
        if (outcome.kind !== "ours") this.#counting.count("drover_reassertions_total", { outcome: outcome.kind });
        return outcome;
      },
    });
  }

  #noteMove(launch: LaunchIdentity, { to, event }: Move<VmEventType>, outcome: MoveOutcome): void {
    if (outcome === "not_owner" || outcome === "no_record" || outcome === "wrong_state")
      this.#counting.count("drover_fenced_writes_total", { action: "move", why: outcome });
    if (outcome !== "done") return;
    if (to in PHASES) this.#notePhase(launch, to as keyof typeof PHASES); // it is one of them
    if (ENDS.includes(to)) this.#noteEnd(to, event.data);
  }

  #notePhase(launch: LaunchIdentity, to: keyof typeof PHASES): void {
    const times = this.#times.get(launch);
    if (times === undefined) return; // taken over: the worker before has seen its phases
    const nowMs = this.#clock.monotonicMs();
    this.#phase(PHASES[to], nowMs - times.phaseMs);
    if (to === "running") this.#phase("whole", nowMs - times.fetchedMs);
    times.phaseMs = nowMs;
  }

  #noteEnd(to: string, data: unknown): void {
    const told = Told.safeParse(data).data;
    const outcome = to === "queued" ? (told?.reason ?? "requeued") : to;
    this.#counting.count("drover_launches_ended_total", { outcome });
    const cause = told?.cause?.code;
    if (cause !== undefined) this.#counting.count("drover_launch_failures_total", { cause });
  }

  #phase(phase: string, ms: number): void {
    this.#counting.observe("drover_launch_phase_seconds", { phase }, Math.max(0, ms) / 1_000); // clocks of two machines
  }
}

/** The same thing with some of its methods replaced; the others, and what they keep to themselves, stay its own. */
function changed<B extends object, T extends B>(thing: T, replaced: Partial<B>): T {
  return new Proxy(thing, {
    get(target, name) {
      const value: unknown = Reflect.get(name in replaced ? replaced : target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
