import { type Entry, type FaultKind, type History, type LeakKind, pick, type Violation } from "./history.ts";
import { downSpans, groupBy, isFinalState, livesOf, overlapsOf } from "./lives.ts";

/** What one run has shown, in numbers that can be added up over runs. */
export interface Figures {
  readonly accepted: number;
  readonly ended: Readonly<Record<string, number>>;
  readonly launches: number;
  readonly lost: number;
  readonly doubled: number;
  /** Overlaps of a cut-off live host under rerun + keep, in ms: the one case that the policy allows. */
  readonly allowedOverlapsMs: readonly number[];
  readonly leaks: Readonly<Partial<Record<LeakKind, number>>>;
  readonly disturbed: number;
  readonly violations: number;
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
  readonly events: number;
  readonly reconnects: number;
  readonly told: Readonly<Record<string, number>>;
  /** Times in ms, each from what came back to what had to follow. */
  readonly recovery: Readonly<Record<Recovery, readonly number[]>>;
}

const RECOVERIES = {
  adopted: "worker started -> the last of its live VMs taken over",
  stopped: "SIGTERM -> worker gone",
  apiBack: "Redis back, all else well -> a submission accepted",
  launched: "Redis back, all else well -> a waiting VM launched",
  relaunched: "host declared lost -> VM running elsewhere",
  rest: "last fault over -> every VM at rest",
} as const;
type Recovery = keyof typeof RECOVERIES;

export function figuresOf(history: History, violations: readonly Violation[]): Figures {
  const records = pick(history, "record");
  const events = pick(history, "event");
  const faults = pick(history, "fault").filter(({ type }) => type === "invoke");
  const problems = pick(history, "scan").flatMap(({ value }) => value.problems);
  const overlaps = overlapsOf(history);
  const count = (invariant: string) => violations.filter((violation) => violation.invariant === invariant).length;
  return {
    accepted: new Set(pick(history, "submit").flatMap(({ type, vmId }) => (type === "ok" ? [vmId] : []))).size,
    ended: countBy(
      records.filter(({ value }) => isFinalState(value.state)),
      ({ value }) => value.state,
    ),
    launches: livesOf(history).length,
    lost: count("I1"),
    doubled: overlaps.filter(({ allowed }) => !allowed).length,
    allowedOverlapsMs: overlaps.filter(({ allowed }) => allowed).map(({ overlapMs }) => overlapMs),
    leaks: countBy(problems, ({ kind }) => kind),
    disturbed: count("I13"),
    violations: violations.length,
    faults: countBy(faults, ({ value }) => value.kind),
    events: events.length,
    reconnects: pick(history, "read").filter(({ value }) => value.from !== undefined).length,
    told: countBy(
      events.filter(({ value }) => TOLD.has(value.name)),
      ({ value }) => value.name,
    ),
    recovery: recoveryOf(history, events),
  };
}

const TOLD = new Set(["vm.adopted", "vm.reasserted", "vm.copy_stopped"]);

function countBy<T, K extends string>(items: readonly T[], keyOf: (item: T) => K): Record<K, number> {
  const counts = [...groupBy(items, keyOf)].map(([key, group]) => [key, group.length]);
  return Object.fromEntries(counts) as Record<K, number>; // the keys come from keyOf
}

function recoveryOf(history: History, events: readonly Entry<"event">[]): Record<Recovery, number[]> {
  const accepted = pick(history, "submit").filter(({ type }) => type === "ok");
  const launches = events.filter(({ value }) => value.name === "vm.preparing");
  const returns = redisReturns(history);
  const next = (entries: readonly Entry[], { t, quietMs }: { t: number; quietMs: number }) => {
    const first = entries.find((entry) => entry.t > t);
    return first === undefined || first.t > quietMs ? [] : [first.t - t];
  };
  return {
    adopted: adoptions(history, events),
    stopped: pick(history, "worker").flatMap(({ value }) => (value.by === "SIGTERM" ? [value.tookMs ?? 0] : [])),
    apiBack: returns.flatMap((back) => next(accepted, back)),
    launched: returns.filter(({ t }) => isAwaited(events, t)).flatMap((back) => next(launches, back)),
    relaunched: relaunches(events),
    rest: pick(history, "settled").map(({ value }) => value.tookMs),
  };
}

/** When Redis came back while nothing else was broken, each with the moment of the next fault of anything but a VM. */
function redisReturns(history: History): { t: number; quietMs: number }[] {
  const faults = pick(history, "fault").filter(({ value }) => !value.kind.startsWith("qemu-"));
  return faults
    .filter(({ type, value }) => type === "ok" && value.kind === "redis-kill")
    .flatMap(({ t, value: { id } }) => {
      const before = faults.filter((fault) => fault.t < t && fault.value.id !== id);
      const healed = new Set(before.filter(({ type }) => type === "ok").map(({ value }) => value.id));
      if (before.some(({ type, value }) => type === "invoke" && !healed.has(value.id))) return [];
      return [{ t, quietMs: faults.find((fault) => fault.t > t)?.t ?? Number.POSITIVE_INFINITY }];
    });
}

/** Whether a VM waited for its launch at that moment. */
function isAwaited(events: readonly Entry<"event">[], atMs: number): boolean {
  const last = new Map<string | undefined, string>();
  for (const { t, vmId, value } of events) if (t <= atMs) last.set(vmId, value.name);
  return [...last.values()].includes("vm.queued");
}

/** From the start of a worker's process to the last adoption that it tells of before it ends again. */
function adoptions(history: History, events: readonly Entry<"event">[]): number[] {
  const adopted = events.filter(({ value }) => value.name === "vm.adopted");
  const starts = pick(history, "worker").filter(({ value }) => value.what === "start");
  return starts.flatMap(({ t, value: { host } }) => {
    const endMs = downSpans(history, host).find(({ fromMs }) => fromMs > t)?.fromMs ?? Number.POSITIVE_INFINITY;
    const last = adopted.findLast((entry) => entry.value.data["host"] === host && entry.t > t && entry.t < endMs);
    return last === undefined ? [] : [last.t - t];
  });
}

function relaunches(events: readonly Entry<"event">[]): number[] {
  return [...groupBy(events, ({ vmId }) => vmId).values()].flatMap((mine) =>
    mine.flatMap((entry, index) => {
      if (entry.value.data["reason"] !== "host_lost") return [];
      const running = mine.slice(index).find(({ value }) => value.name === "vm.running");
      return running === undefined ? [] : [running.t - entry.t];
    }),
  );
}

/** The figures of several runs as those of one. */
export function addUp(all: readonly Figures[]): Figures {
  const sum = (of: (figures: Figures) => number) => all.reduce((total, figures) => total + of(figures), 0);
  const merge = <K extends string>(of: (figures: Figures) => Readonly<Partial<Record<K, number>>>) => {
    const merged: Partial<Record<K, number>> = {};
    for (const counts of all.map(of))
      for (const [key, value] of Object.entries(counts) as [K, number][]) merged[key] = (merged[key] ?? 0) + value;
    return merged as Record<K, number>; // only the keys that occur are read
  };
  const recovery = (name: Recovery) => all.flatMap((figures) => figures.recovery[name]);
  return {
    accepted: sum(({ accepted }) => accepted),
    ended: merge(({ ended }) => ended),
    launches: sum(({ launches }) => launches),
    lost: sum(({ lost }) => lost),
    doubled: sum(({ doubled }) => doubled),
    allowedOverlapsMs: all.flatMap(({ allowedOverlapsMs }) => allowedOverlapsMs),
    leaks: merge(({ leaks }) => leaks),
    disturbed: sum(({ disturbed }) => disturbed),
    violations: sum(({ violations }) => violations),
    faults: merge(({ faults }) => faults),
    events: sum(({ events }) => events),
    reconnects: sum(({ reconnects }) => reconnects),
    told: merge(({ told }) => told),
    recovery: {
      adopted: recovery("adopted"),
      stopped: recovery("stopped"),
      apiBack: recovery("apiBack"),
      launched: recovery("launched"),
      relaunched: recovery("relaunched"),
      rest: recovery("rest"),
    },
  };
}

/** The page of figures that a soak ends with. */
export function formatFigures(figures: Figures, { runs, minutes }: { runs: number; minutes: number }): string {
  const list = (counts: Readonly<Partial<Record<string, number>>>) =>
    Object.entries(counts)
      .sort(([, a = 0], [, b = 0]) => b - a)
      .map(([name, count]) => `${count} ${name}`)
      .join(", ") || "none";
  const leaks = (["process", "port", "file", "redis"] as const).map((kind) => `${kind} ${figures.leaks[kind] ?? 0}`);
  const overlaps = figures.allowedOverlapsMs;
  const allowed = overlaps.length === 0 ? "0" : `${overlaps.length}, longest ${Math.round(Math.max(...overlaps))} ms`;
  const times = (Object.keys(RECOVERIES) as Recovery[]).map(
    (name) => `  ${RECOVERIES[name].padEnd(56)} ${formatTimes(figures.recovery[name])}`,
  );
  return [
    `${runs} runs in ${minutes.toFixed(1)} min`,
    `accepted            ${figures.accepted} VMs, in ${figures.launches} launches`,
    `ended as            ${list(figures.ended)}`,
    `lost                ${figures.lost}`,
    `run twice           ${figures.doubled}   (cut-off live hosts under rerun + keep: ${allowed})`,
    `disturbed           ${figures.disturbed}`,
    `left behind         ${leaks.join(", ")}`,
    `violations          ${figures.violations}`,
    `faults              ${list(figures.faults)}`,
    `told                ${list(figures.told)}`,
    `events              ${figures.events}, read over ${figures.reconnects} connections`,
    "times (median, 95 %, longest; ms)",
    ...times,
  ].join("\n");
}

function formatTimes(times: readonly number[]): string {
  if (times.length === 0) return "-";
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  return `${at(0.5)}, ${at(0.95)}, ${at(1)}   (${sorted.length})`;
}
