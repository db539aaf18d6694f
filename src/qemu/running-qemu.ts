import { within } from "../runtime/bounded-wait.ts";
import { boundForeignLog, type FileBound, readTail } from "./bounded-file.ts";
import { DEFAULT_HEARTBEAT, Heartbeat } from "./heartbeat.ts";
import { MonitorLink } from "./monitor-link.ts";
import { endOfEvent, endOfStatus, hostShutdownReason, type QemuEnd, TOLD_TO_END } from "./qemu-end.ts";
import type { QmpEvent } from "./qmp-protocol.ts";
import { CONSOLE_RING, RESULT_RING, type RingChunk, RingReader, type RingSpec } from "./ring-reader.ts";
import { descendStopLadder, type StopOptions, type StopOutcome } from "./stop-ladder.ts";
import type { QemuObservation, SupervisedParts, SuperviseOptions, WatchedProcess } from "./supervision.ts";
import { keptText, type VmOutputs } from "./vm-outputs.ts";
import type { VmPaths } from "./vm-paths.ts";

const STATUS_TIMEOUT_MS = 5_000;
/** Long, because a late answer is dropped and with it what was taken out of the ring. */
const RING_READ_TIMEOUT_MS = 60_000;
const DRAIN_TIMEOUT_MS = 1_000;
/** The guest is down and its result may still be in the ring: on a loaded host it is waited for. */
const LAST_DRAIN_TIMEOUT_MS = 30_000;
/** By force the rings get little more time than an answering QEMU needs. */
const FORCED_DRAIN_TIMEOUT_MS = 100;
/** QEMU's last words on QMP are read before its death is reported. */
const LAST_WORDS_MS = 200;
const LAST_WORDS_BYTES = 4 * 1024;
const REBOOT_NOTE_MS = 1_000;
/** A panic is followed by STOP and what comes of it. */
const QMP_EVENTS_KEPT = 5;
const LOG_CHECK_MS = 5_000;
const LOG_BOUND: FileBound = { maxBytes: 256 * 1024, keepBytes: 64 * 1024 };

/**
 * One QEMU under supervision, started by this process or by a predecessor. It owns the connection to the monitor, the
 * readers of the ring buffers and the timers; `stop()` gives them back when the process is dead, `detach()` without
 * touching it.
 */
export class RunningQemu {
  readonly pid: number;
  readonly startTimeTicks: number;
  readonly paths: VmPaths;
  /** How the VM ended, once. The guest's end leaves QEMU sitting there until `stop()`. Never settles after `detach()`. */
  readonly ended: Promise<QemuEnd>;
  readonly #options: SuperviseOptions;
  readonly #process: WatchedProcess;
  readonly #link: MonitorLink;
  readonly #heartbeat: Heartbeat;
  readonly #console: RingReader | undefined;
  readonly #result: RingReader | undefined;
  readonly #forced = new AbortController();
  #logTimer: NodeJS.Timeout | undefined;
  #end: QemuEnd | undefined;
  #reportEnd: (end: QemuEnd) => void = () => undefined;
  readonly #lastQmpEvents: QmpEvent[] = [];
  #hostReason: string | null = null;
  #rebootNotedMs = Number.NEGATIVE_INFINITY;
  #stopping: Promise<StopOutcome> | undefined;

  constructor(options: SuperviseOptions, parts: SupervisedParts) {
    this.pid = parts.process.pid;
    this.startTimeTicks = parts.process.startTimeTicks;
    this.paths = options.paths;
    this.#options = options;
    this.#process = parts.process;
    this.ended = new Promise((resolve) => {
      this.#reportEnd = resolve;
    });
    this.#link = new MonitorLink({
      client: parts.client,
      redial: parts.redial,
      onEvent: (event) => this.#onEvent(event),
      onClosed: () => parts.process.lookClosely?.(),
      onLost: (error) => this.#observe({ kind: "monitor-lost", reason: error.message }),
      onBack: () => {
        this.#observe({ kind: "monitor-back" });
        void this.#askStatus();
      },
    });
    this.#heartbeat = new Heartbeat({
      timing: options.heartbeat ?? DEFAULT_HEARTBEAT,
      lastHeardMs: () => this.#link.lastHeardMs,
      ask: (timeoutMs) => this.#link.execute("query-status", {}, { timeoutMs }),
      onSilent: (silentForMs) => this.#observe({ kind: "unresponsive", silentForMs }),
      onBack: () => this.#observe({ kind: "responsive" }),
    });
    this.#console = options.rings.console
      ? this.#reader(CONSOLE_RING, options.paths.consoleLog, options.onConsole)
      : undefined;
    this.#result = options.rings.result ? this.#reader(RESULT_RING, options.paths.result) : undefined;
    this.#start(parts.status);
  }

  /** The last thing that QEMU told unasked. */
  get lastQmpEvent(): QmpEvent | undefined {
    return this.#lastQmpEvents.at(-1);
  }

  /** True while QEMU has left questions unanswered for too long. */
  get isUnresponsive(): boolean {
    return this.#heartbeat.isSilent;
  }

  /**
   * Ends the VM by the stop ladder and comes back when the process is proved dead; what the rings held is read before.
   * A second call joins the first; its `forced` counts as well. Throws as descendStopLadder does; it may be called
   * again then.
   */
  stop(options: StopOptions): Promise<StopOutcome> {
    const { forced } = options;
    if (forced?.aborted === true) this.#forced.abort();
    else forced?.addEventListener("abort", () => this.#forced.abort(), { once: true });
    this.#stopping ??= this.#stop(options).catch((error: unknown) => {
      this.#stopping = undefined;
      throw error;
    });
    return this.#stopping;
  }

  /** Reads what the rings still hold, if QEMU answers, and gives what is left of all output. May be called at any time. */
  async drainOutputs(): Promise<VmOutputs> {
    await this.#drainRings(this.#end === undefined ? DRAIN_TIMEOUT_MS : LAST_DRAIN_TIMEOUT_MS);
    const qemu = await readTail(this.paths.qemuLog, LOG_BOUND.keepBytes);
    return {
      console: keptText(this.#console?.tail ?? Buffer.alloc(0)),
      qemu: keptText(qemu),
      result: this.#result?.tail ?? Buffer.alloc(0),
      qmpEvents: this.#lastQmpEvents.map(({ name, data, atMs }) => ({ name, data: JSON.stringify(data), atMs })),
    };
  }

  /** Tells a guest that QEMU has paused to go on. True when it runs then; rejects when QEMU does not answer. */
  async resume(): Promise<boolean> {
    await this.#link.execute("cont", {}, { timeoutMs: STATUS_TIMEOUT_MS });
    const { running } = await this.#link.execute("query-status", {}, { timeoutMs: STATUS_TIMEOUT_MS });
    return running;
  }

  /** Ends the supervision and leaves QEMU as it is: somebody else may attach then. Done twice it is no error. */
  async detach(): Promise<void> {
    this.#heartbeat.stop();
    clearInterval(this.#logTimer);
    this.#process.stopWatching?.();
    this.#link.close();
    await Promise.all([this.#console?.stop(), this.#result?.stop()]);
  }

  #start(status: string): void {
    this.#link.start(); // first, because an event says more about an end than the status does
    const end = endOfStatus(status);
    if (end !== undefined) this.#endOnce(end);
    this.#console?.start();
    this.#result?.start();
    this.#heartbeat.start();
    this.#logTimer = setInterval(() => void this.#boundLog(), LOG_CHECK_MS);
    void this.#process.exited.then(async (facts) => {
      await within(this.#link.closed, LAST_WORDS_MS);
      this.#endOnce({ kind: "exited", ...facts, reason: this.#hostReason ?? (await this.#loggedReason()) });
      await this.detach();
    });
  }

  async #stop(options: StopOptions): Promise<StopOutcome> {
    const outcome = await descendStopLadder(
      {
        identity: this,
        exited: this.#process.exited,
        guestDown: this.ended,
        isGuestDown: () => this.#end !== undefined,
        monitor: this.#link,
        beforeQuit: async () => {
          const isForced = this.#forced.signal.aborted && this.#end === undefined;
          await this.#drainRings(isForced ? FORCED_DRAIN_TIMEOUT_MS : DRAIN_TIMEOUT_MS);
        },
      },
      { bounds: options.bounds, forced: this.#forced.signal },
    );
    this.#process.lookClosely?.();
    await this.ended;
    await this.detach();
    return outcome;
  }

  async #drainRings(timeoutMs: number): Promise<void> {
    if (!this.#link.isOpen) return;
    // A QEMU that does not answer keeps its rings; what was read before is kept as well.
    await Promise.allSettled([this.#console?.drain(timeoutMs), this.#result?.drain(timeoutMs)]);
  }

  #reader(spec: RingSpec, path: string, onChunk?: (chunk: RingChunk) => void): RingReader {
    return new RingReader({
      spec,
      path,
      read: async (device, size) => {
        const args = { device, size, format: "base64" } as const;
        return Buffer.from(
          await this.#link.execute("ringbuf-read", args, { timeoutMs: RING_READ_TIMEOUT_MS }),
          "base64",
        );
      },
      onFileError: (error) => this.#observe({ kind: "output-not-written", error }),
      ...(onChunk && { onChunk }),
    });
  }

  #onEvent(event: QmpEvent): void {
    this.#lastQmpEvents.push(event);
    if (this.#lastQmpEvents.length > QMP_EVENTS_KEPT) this.#lastQmpEvents.shift();
    this.#hostReason = hostShutdownReason(event) ?? this.#hostReason;
    const end = endOfEvent(event);
    if (end !== undefined) this.#endOnce(end);
    else if (event.name === "RESET") this.#noteReboot();
    else if (event.name === "STOP" && this.#end === undefined) void this.#askStatus();
  }

  /** A guest may reboot thousands of times in a second; its owner hears of the first. */
  #noteReboot(): void {
    const nowMs = performance.now();
    if (nowMs - this.#rebootNotedMs < REBOOT_NOTE_MS) return;
    this.#rebootNotedMs = nowMs;
    this.#observe({ kind: "guest-rebooted" });
  }

  /** A question of ours that met the closing monitor can cost us its last words; the log has those about a signal. */
  async #loggedReason(): Promise<string | null> {
    const log = await readTail(this.paths.qemuLog, LAST_WORDS_BYTES).catch(() => Buffer.alloc(0));
    return TOLD_TO_END.test(log.toString("latin1")) ? "host-signal" : null;
  }

  async #askStatus(): Promise<void> {
    try {
      const { status, running } = await this.#link.execute("query-status", {}, { timeoutMs: STATUS_TIMEOUT_MS });
      const end = endOfStatus(status);
      if (end !== undefined) this.#endOnce(end);
      else if (!running) this.#observe({ kind: "paused", status });
    } catch {
      // The heartbeat or the process table sees what is wrong.
    }
  }

  #endOnce(end: QemuEnd): void {
    this.#end ??= end;
    this.#reportEnd(this.#end);
  }

  #observe(observation: QemuObservation): void {
    this.#options.onObservation?.(observation);
  }

  async #boundLog(): Promise<void> {
    try {
      await boundForeignLog(this.paths.qemuLog, LOG_BOUND);
    } catch (error) {
      this.#observe({ kind: "output-not-written", error });
    }
  }
}
