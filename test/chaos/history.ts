import { readFileSync, writeFileSync } from "node:fs";
import type { VmEventType } from "../../src/contract/vm-event.ts";
import type { VmState } from "../../src/contract/vm-state.ts";

/** `info` after an `invoke` means: nobody knows whether it happened. Without one it is something that was seen. */
export type EntryType = "invoke" | "ok" | "fail" | "info";

/** What was seen or done, by the name of it. Times within values are monotonic ms like `t`, unless they say otherwise. */
export interface Facts {
  /** The settings of the run, before everything else. */
  run: {
    readonly seed: string;
    readonly policy: "rerun" | "hold";
    readonly onPartition: "keep" | "stop";
    readonly leaseMs: number;
    readonly hostLostAfterMs: number;
    readonly settleMs: number;
    /** Whether Redis lost data in this run: what it had accepted is outside of I1 then. */
    readonly dataLoss: boolean;
    readonly hosts: Readonly<Record<string, { readonly first: number; readonly last: number }>>;
  };
  submit: {
    readonly op: number;
    readonly key: string;
    readonly attempts: number;
    readonly status?: number;
    readonly replayed?: boolean;
  };
  remove: { readonly op: number; readonly force: boolean; readonly status?: number; readonly state?: VmState };
  retry: { readonly op: number; readonly status?: number };
  get: { readonly op: number; readonly status?: number; readonly state?: VmState };
  /** A fault begins (`invoke`) and is healed (`ok`). `target` is a host, an edge (`h1-redis`) or a process. */
  fault: { readonly id: number; readonly kind: FaultKind; readonly target: string; readonly detail?: string };
  worker: {
    readonly host: string;
    readonly what: "start" | "ready" | "exit";
    readonly pid: number;
    readonly maxVms: number;
    /** How it was ended; nothing when it ended by itself. */
    readonly by?: "SIGKILL" | "SIGTERM";
    readonly tookMs?: number;
  };
  /** The nemesis signals a VM's QEMU. */
  signal: { readonly pid: number; readonly signal: "SIGKILL" | "SIGSTOP" | "SIGCONT" };
  /** The program that drover starts as QEMU tells of itself, before it becomes QEMU. */
  launch: { readonly pid: number; readonly host: string; readonly epoch: number; readonly mode: string };
  /** A QEMU in the process table. `gone` names the last moment at which it was surely there. */
  qemu: {
    readonly what: "up" | "port" | "gone";
    readonly pid: number;
    readonly host: string;
    readonly epoch: number;
    readonly port?: number;
    readonly lastSeenMs?: number;
  };
  /** An event of the stream, read at the end from its beginning; `t` is its own time. */
  event: StreamEvent;
  /** What a live reader got; `from` is where it resumed with a new connection. */
  read: { readonly reader: string; readonly from?: string; readonly event?: StreamEvent; readonly gap?: boolean };
  /** The VM's record at the end. */
  record: {
    readonly state: VmState;
    readonly epoch: number;
    readonly seq: number;
    readonly key: string | undefined;
    readonly host: string | undefined;
    readonly port: number | undefined;
  };
  /** Everything that disagrees, with the kind of what is left or missing. */
  scan: { readonly when: "live" | "empty"; readonly problems: readonly { kind: LeakKind; text: string }[] };
  /** Secrets found somewhere; `allowed` where they have to be (the VM's own directory). */
  canary: { readonly place: string; readonly fields: readonly string[]; readonly allowed: boolean };
  mode: { readonly path: string; readonly mode: number };
  healed: Record<string, never>;
  /** All VMs that can end have ended, or time was up and some are `open`. */
  settled: { readonly tookMs: number; readonly open: readonly string[] };
}

export type FaultKind =
  | "worker-kill"
  | "worker-term"
  | "worker-fail-point"
  | "worker-pause"
  | "api-kill"
  | "redis-kill"
  | "redis-flush"
  | "qemu-kill"
  | "qemu-pause"
  | "latency"
  | "black-hole"
  | "reset"
  | "half-open"
  | "cut-after"
  | "foreign-port";

export type LeakKind = "process" | "port" | "file" | "redis" | "state";

interface StreamEvent {
  /** Its place in the stream. */
  readonly id: string;
  readonly seq: number;
  readonly name: VmEventType;
  readonly data: Readonly<Record<string, unknown>>;
}

export type Entry<F extends keyof Facts = keyof Facts> = {
  [K in F]: {
    /** Monotonic ms of this machine. */
    readonly t: number;
    /** Who says so: a client, the nemesis, the process table, a reader. */
    readonly process: string;
    readonly type: EntryType;
    readonly f: K;
    readonly vmId?: string;
    readonly value: Facts[K];
  };
}[F];

/** What a run has seen and done, in JSON lines. */
export type History = readonly Entry[];

export interface Violation {
  readonly invariant: string;
  readonly vmId?: string;
  readonly message: string;
}

export type Checker = (history: History) => Violation[];

/** The entries of one kind. */
export function pick<F extends keyof Facts>(history: History, f: F): readonly Entry<F>[] {
  return history.filter((entry) => entry.f === f) as unknown as readonly Entry<F>[];
}

/** The settings of the run. */
export function runOf(history: History): Facts["run"] {
  const [run] = pick(history, "run");
  if (run === undefined) throw new Error("the history does not begin with the settings of its run");
  return run.value;
}

export function nowMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** Collects a history; entries that are seen late (events of the stream) come with their own time. */
export class Recorder {
  readonly #entries: Entry[] = [];

  add<F extends keyof Facts>(
    f: F,
    value: Facts[F],
    more: { process: string; type?: EntryType; vmId?: string | undefined; t?: number },
  ): void {
    const { process, type = "info", vmId, t = nowMs() } = more;
    const entry = { t, process, type, f, ...(vmId === undefined ? {} : { vmId }), value };
    this.#entries.push(entry as unknown as Entry); // f and value belong together by this function's own type
  }

  /** In the order of time. */
  history(): History {
    return [...this.#entries].sort((a, b) => a.t - b.t);
  }

  get size(): number {
    return this.#entries.length;
  }
}

export function writeHistory(path: string, history: History): void {
  writeFileSync(path, history.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
}

/** Reads what `writeHistory` wrote; the format is nobody else's. */
export function readHistory(path: string): History {
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Entry);
}
