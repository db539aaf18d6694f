import { FINAL_STATES, VM_STATES, type VmState } from "../../src/contract/vm-state.ts";
import { type Entry, type History, pick, runOf } from "./history.ts";

/**
 * A QEMU from its start to the last moment at which it was seen (without an end when it was there to the last): it may
 * have lived a little longer, never shorter.
 */
export interface Life {
  readonly vmId: string;
  readonly epoch: number;
  readonly host: string;
  readonly pid: number;
  readonly mode: string;
  readonly fromMs: number;
  readonly untilMs: number;
  /** The first moment at which it was surely gone. */
  readonly goneMs: number;
  /** False for one that was there when the history ended. */
  readonly ended: boolean;
  readonly port: number | undefined;
}

/** Start times come in ticks of 10 ms, and the clock of the events is another one than that of the samples. */
export const CLOCK_SLACK_MS = 25;

const known = new WeakMap<History, readonly Life[]>();

/** All QEMUs that ever lived, in the order of their starts. One too brief for the sampler is known by its launch. */
export function livesOf(history: History): readonly Life[] {
  const before = known.get(history);
  if (before !== undefined) return before;
  const launches = groupBy(pick(history, "launch"), ({ value }) => value.pid);
  const seen = groupBy(pick(history, "qemu"), ({ value }) => value.pid);
  const lives = [...new Set([...launches.keys(), ...seen.keys()])]
    .flatMap((pid) => livesOfPid(launches.get(pid) ?? [], seen.get(pid) ?? []))
    .sort((a, b) => a.fromMs - b.fromMs);
  known.set(history, lives);
  return lives;
}

/** A launch notes itself a moment after its process is there, later still on a busy machine. */
const NOTED_MS = 2_000;

/** A pid may come again: what was seen belongs to the launch of that VM next to it. */
function livesOfPid(launches: readonly Entry<"launch">[], seen: readonly Entry<"qemu">[]): Life[] {
  const ups = seen.filter(({ value }) => value.what === "up");
  const isOf = (up: Entry<"qemu">, launch: Entry<"launch">) =>
    up.vmId === launch.vmId && up.value.epoch === launch.value.epoch && up.t + NOTED_MS >= launch.t;
  const starts = [
    ...launches.map((launch) => ({ launch, up: ups.find((up) => isOf(up, launch)) })),
    ...ups.filter((up) => !launches.some((launch) => isOf(up, launch))).map((up) => ({ launch: undefined, up })),
  ];
  return starts.flatMap(({ launch, up }): Life[] => {
    const first = launch ?? up;
    if (first === undefined) return [];
    const { vmId = "", value } = first;
    const fromMs = Math.min(first.t, up?.t ?? first.t);
    const mine = up === undefined ? [] : seen.filter((entry) => entry.t >= up.t && entry.vmId === up.vmId);
    const gone = mine.find((entry) => entry.value.what === "gone");
    return [
      {
        vmId,
        epoch: value.epoch,
        host: value.host,
        pid: value.pid,
        mode: launch?.value.mode ?? "unannounced",
        fromMs,
        untilMs: Math.max(fromMs, up === undefined ? fromMs : (gone?.value.lastSeenMs ?? Number.POSITIVE_INFINITY)),
        goneMs: up === undefined ? fromMs : (gone?.t ?? Number.POSITIVE_INFINITY),
        ended: up === undefined || gone !== undefined,
        port: mine.find((entry) => entry.value.what === "port")?.value.port,
      },
    ];
  });
}

export function groupBy<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** What a client knows of each idempotency key at the end: `unknown` when an answer is missing. */
export function outcomesByKey(history: History): ReadonlyMap<string, "accepted" | "unknown" | "refused"> {
  const attempts = groupBy(pick(history, "submit"), ({ value }) => value.key);
  return new Map(
    [...attempts].map(([key, entries]) => {
      const answered = new Set(entries.filter(({ type }) => type !== "invoke").map(({ value }) => value.op));
      if (entries.some(({ type }) => type === "ok")) return [key, "accepted"];
      const open = entries.some(({ type, value }) => type === "info" || !answered.has(value.op));
      return [key, open ? "unknown" : "refused"];
    }),
  );
}

/** The events of the stream by VM, in the stream's order. */
export function eventsByVm(history: History): ReadonlyMap<string, readonly Entry<"event">[]> {
  return groupBy(streamOf(history), ({ vmId = "" }) => vmId);
}

/** The whole stream in its own order, which is not the order of the clocks. */
export function streamOf(history: History): readonly Entry<"event">[] {
  return [...pick(history, "event")].sort((a, b) => compareIds(a.value.id, b.value.id));
}

/** Orders two ids of the stream. */
export function compareIds(a: string, b: string): number {
  const [aMs = "0", aSeq = "0"] = a.split("-");
  const [bMs = "0", bSeq = "0"] = b.split("-");
  return Number(aMs) - Number(bMs) || Number(aSeq) - Number(bSeq);
}

/** The state that an event tells of; undefined for one that changes none. */
export function stateOf({ value: { name } }: Entry<"event">): VmState | undefined {
  const word = name.slice("vm.".length);
  return VM_STATES.find((state) => state === word);
}

export function isFinalState(state: VmState | undefined): boolean {
  return state !== undefined && (FINAL_STATES as readonly VmState[]).includes(state);
}

export interface Span {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** When the faults of some kinds were in force; one that nobody healed lasts to the end. */
function faultSpans(history: History, wanted: (fault: Entry<"fault">["value"]) => boolean): readonly Span[] {
  const faults = pick(history, "fault").filter(({ value }) => wanted(value));
  return faults
    .filter(({ type }) => type === "invoke")
    .map(({ t, value }) => ({
      fromMs: t,
      untilMs:
        faults.find((other) => other.type === "ok" && other.value.id === value.id)?.t ?? Number.POSITIVE_INFINITY,
    }));
}

/** When a host's worker did not run: from its end to the next one that was ready. */
export function downSpans(history: History, host: string): readonly Span[] {
  const entries = pick(history, "worker").filter(({ value }) => value.host === host);
  const ready = entries.filter(({ value }) => value.what === "ready");
  return entries
    .filter(({ value }) => value.what === "exit")
    .map(({ t }) => ({ fromMs: t, untilMs: ready.find((entry) => entry.t > t)?.t ?? Number.POSITIVE_INFINITY }));
}

/**
 * When nobody could hear a host, by faults that touch, joined: its worker dead or stopped, its way to Redis cut, Redis
 * itself away. A host needs a moment after each to be heard again.
 */
export function silentSpans(history: History, host: string): readonly (Span & { readonly cutOff: boolean })[] {
  const RETURN_MS = 3_000;
  const edge = `${host}-redis`;
  const halfOpen = faultSpans(history, ({ kind, target }) => kind === "half-open" && target === edge);
  const cut = [
    ...faultSpans(history, ({ target }) => target === edge),
    ...halfOpen.map(({ fromMs }) => ({ fromMs, untilMs: fromMs + HALF_OPEN_MS })),
  ];
  const others = [
    ...downSpans(history, host),
    ...faultSpans(history, ({ kind, target }) => kind === "worker-pause" && target === host),
    ...faultSpans(history, ({ kind }) => kind === "redis-kill" || kind === "redis-flush"),
  ];
  const lengthMs = ({ fromMs, untilMs }: Span) => untilMs - fromMs;
  const all = [
    ...cut.map((span) => ({ ...span, cutMs: lengthMs(span) })),
    ...others.map((span) => ({ ...span, cutMs: 0 })),
  ].sort((a, b) => a.fromMs - b.fromMs);
  const joined: { fromMs: number; untilMs: number; cutMs: number }[] = [];
  for (const { fromMs, untilMs, cutMs } of all) {
    const last = joined.at(-1);
    if (last === undefined || fromMs > last.untilMs) joined.push({ fromMs, untilMs: untilMs + RETURN_MS, cutMs });
    else {
      last.untilMs = Math.max(last.untilMs, untilMs + RETURN_MS);
      last.cutMs += cutMs;
    }
  }
  return joined.map(({ fromMs, untilMs, cutMs }) => ({ fromMs, untilMs, cutOff: cutMs >= CUT_OFF_MS }));
}

/** A hiccup of the network beside a long stop of the worker does not make it a host that was cut off. */
const CUT_OFF_MS = 2_000;
/** Nobody tells a worker that its connection is half open: it gives it up after 8 s without an answer. */
const HALF_OPEN_MS = 8_500;

/** Two lives of one VM that overlapped. */
export interface Overlap {
  readonly older: Life;
  readonly newer: Life;
  readonly overlapMs: number;
  /** True for the one case that the policy rerun + keep allows: a host that was cut off, with its worker alive. */
  readonly allowed: boolean;
}

/** How long a host that is back may take to stop what runs elsewhere by now. */
const COPY_STOP_MS = 10_000;

/** Every pair of QEMUs of one VM that lived at the same time. */
export function overlapsOf(history: History): readonly Overlap[] {
  const { policy, onPartition, hostLostAfterMs } = runOf(history);
  const endMs = history.at(-1)?.t ?? 0;
  const byVm = groupBy(livesOf(history), ({ vmId }) => vmId);
  const overlaps: Overlap[] = [];
  for (const lives of byVm.values())
    for (const [index, older] of lives.entries())
      for (const newer of lives.slice(index + 1)) {
        if (older.untilMs - newer.fromMs <= CLOCK_SLACK_MS) continue;
        const overlapMs = Math.min(older.untilMs, newer.untilMs, endMs) - newer.fromMs;
        const silence = silentSpans(history, older.host).find(
          ({ fromMs, untilMs, cutOff }) =>
            cutOff && fromMs <= newer.fromMs - hostLostAfterMs + 1_000 && untilMs >= newer.fromMs,
        );
        const allowed =
          policy === "rerun" &&
          onPartition === "keep" &&
          older.host !== newer.host &&
          older.epoch < newer.epoch &&
          silence !== undefined &&
          older.untilMs <= silence.untilMs + COPY_STOP_MS;
        overlaps.push({ older, newer, overlapMs, allowed });
      }
  return overlaps;
}
