import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readStartTime } from "../../src/runtime/process-identity.ts";
import { nowMs, type Recorder } from "./history.ts";
import { parseName } from "./truth-qemu.ts";

const SAMPLE_MS = 100;

interface Watched {
  readonly pid: number;
  readonly startTimeTicks: number;
  readonly vmId: string;
  readonly epoch: number;
  readonly host: string;
  port: number | undefined;
  lastSeenMs: number;
}

/** A QEMU that lived when it was last looked for. */
export type LiveQemu = Readonly<Watched>;

/**
 * Looks into the process table ten times a second and writes down which QEMUs come and go, and on which port each
 * listens. Knows nothing of what drover says.
 */
export class TruthSampler {
  readonly #recorder: Recorder;
  readonly #hostOf: (commandLine: string) => string | undefined;
  readonly #live = new Map<number, Watched>();
  /** Processes that are none of ours, by pid, with their start times. */
  readonly #strangers = new Map<number, number>();
  readonly #timer: NodeJS.Timeout;

  /** `hostOf` gives the host whose state directory a command line names; undefined for processes of others. */
  constructor(recorder: Recorder, hostOf: (commandLine: string) => string | undefined) {
    this.#recorder = recorder;
    this.#hostOf = hostOf;
    this.#timer = setInterval(() => this.sample(), SAMPLE_MS);
  }

  get live(): readonly LiveQemu[] {
    return [...this.#live.values()];
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  sample(): void {
    const atMs = nowMs(); // before the look: what is found lived at this moment at the earliest
    const pids = new Set(
      readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .map(Number),
    );
    for (const pid of pids) this.#look(pid, atMs);
    for (const watched of [...this.#live.values()])
      if (watched.lastSeenMs !== atMs) {
        this.#live.delete(watched.pid);
        this.#note(watched, "gone", { lastSeenMs: watched.lastSeenMs });
      }
    for (const pid of this.#strangers.keys()) if (!pids.has(pid)) this.#strangers.delete(pid);
    this.#findPorts();
  }

  #look(pid: number, atMs: number): void {
    const startTimeTicks = readStartTime(pid);
    if (startTimeTicks === undefined) return;
    const known = this.#live.get(pid);
    if (known?.startTimeTicks === startTimeTicks) {
      if (!isDead(pid)) known.lastSeenMs = atMs;
      return;
    }
    if (known === undefined && this.#strangers.get(pid) === startTimeTicks) return;
    const commandLine = readText(`/proc/${pid}/cmdline`);
    const args = commandLine.split("\0");
    const name = parseName(args[args.indexOf("-name") + 1] ?? "");
    const host = name === undefined ? undefined : this.#hostOf(commandLine);
    if (name === undefined || host === undefined || this.#isForkOf(pid, name.vmId)) {
      // A worker's child has its worker's command line for a moment before it becomes QEMU: that one is looked at again.
      if (commandLine !== "" && !isYoung(startTimeTicks, atMs)) this.#strangers.set(pid, startTimeTicks);
      return;
    }
    const watched: Watched = { pid, startTimeTicks, ...name, host, port: undefined, lastSeenMs: atMs };
    this.#live.set(pid, watched);
    this.#note(watched, "up", {});
  }

  /** A shell that forks has two processes with its command line until the second one becomes something else. */
  #isForkOf(pid: number, vmId: string): boolean {
    const text = readText(`/proc/${pid}/stat`);
    const parent = Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[1]);
    return this.#live.get(parent)?.vmId === vmId;
  }

  /** A port never changes in the life of a QEMU, so each is looked for until it is found. */
  #findPorts(): void {
    const wanting = [...this.#live.values()].filter(({ port }) => port === undefined);
    if (wanting.length === 0) return;
    const ports = listeningInodes();
    for (const watched of wanting) {
      watched.port = socketInodes(watched.pid)
        .map((inode) => ports.get(inode))
        .find((port) => port !== undefined);
      if (watched.port !== undefined) this.#note(watched, "port", { port: watched.port });
    }
  }

  #note(
    { pid, host, epoch, vmId }: Watched,
    what: "up" | "port" | "gone",
    more: { port?: number; lastSeenMs?: number },
  ) {
    this.#recorder.add("qemu", { what, pid, host, epoch, ...more }, { process: "truth", vmId });
  }
}

const TICKS_PER_S = 100; // of /proc on every Linux that Node runs on

function isYoung(startTimeTicks: number, atMs: number): boolean {
  return (startTimeTicks / TICKS_PER_S) * 1000 > atMs - 1_000;
}

/** A zombie holds nothing; it is as dead as one that is gone. */
function isDead(pid: number): boolean {
  const text = readText(`/proc/${pid}/stat`);
  const state = text.slice(text.lastIndexOf(")") + 2)[0];
  return state === undefined || state === "Z" || state === "X";
}

/** Inode -> port of every socket that listens. */
function listeningInodes(): ReadonlyMap<string, number> {
  const rows = readText("/proc/net/tcp").split("\n").slice(1);
  return new Map(
    rows.flatMap((row): [string, number][] => {
      const fields = row.trim().split(/\s+/);
      const port = Number.parseInt(fields[1]?.split(":")[1] ?? "", 16);
      return fields[3] === "0A" && fields[9] !== undefined ? [[fields[9], port]] : [];
    }),
  );
}

function socketInodes(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`))?.[1];
      return inode === undefined ? [] : [inode];
    });
  } catch {
    return []; // it ended since the listing
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // it ended since the listing
  }
}
