import { LaunchFailure } from "../contract/causes.ts";
import { TIME_UP, within } from "../runtime/bounded-wait.ts";
import { killProcess } from "../runtime/end-process.ts";
import { linkSignals } from "../runtime/link-signals.ts";
import type { ProcessIdentity } from "../runtime/process-identity.ts";
import { readTail } from "./bounded-file.ts";
import { classifyFailure } from "./classify-failure.ts";
import { startConfined } from "./confined-process.ts";
import type { Confinement } from "./confinement.ts";
import type { OperatorPaths } from "./failure-patterns.ts";
import type { Limiter } from "./limiter.ts";
import { connectEitherMonitor } from "./monitor-choice.ts";
import { endOfStatus } from "./qemu-end.ts";
import type { ExitFacts, QemuProcess } from "./qemu-process.ts";
import type { QmpClient } from "./qmp-client.ts";
import { connectQmp } from "./qmp-connect.ts";
import { QmpError } from "./qmp-error.ts";
import { RunningQemu } from "./running-qemu.ts";
import type { SuperviseOptions } from "./supervision.ts";
import { listHostForwards } from "./user-network.ts";

const LOG_READ_BYTES = 64 * 1024;
/** Between the end of its monitor and its exit QEMU has little left to do. */
const EXIT_WAIT_MS = 2_000;

export interface StartOptions extends SuperviseOptions {
  readonly binPath: string;
  readonly args: readonly string[];
  /** Working directory of QEMU; the VM's own when left out. */
  readonly cwd?: string;
  /** With whose rights it runs; ours when left out. */
  readonly confinement?: Confinement;
  /** How much it may use; no limit when left out. */
  readonly limiter?: Limiter;
  /** The host's port that this QEMU must have bound; left out where it forwards none. */
  readonly expectedPort?: number;
  /** Bound on everything between the start and `running`. */
  readonly qmpTimeoutMs: number;
  readonly signal: AbortSignal;
  /** For the cause of a failure: which files the operator named. */
  readonly operatorPaths?: OperatorPaths;
  /** Takes secrets out of a failure's text. */
  readonly mask?: (text: string) => string;
  /**
   * Told as soon as the process exists, to put pid and start time on disk; runs beside the handshake. The start fails
   * when it fails, and is not done before it is.
   */
  readonly onSpawned?: (identity: ProcessIdentity) => Promise<void>;
}

/**
 * Starts QEMU and comes back when the guest runs: monitor answers, status is running, the uuid is the VM's and the
 * forwarded port is really bound by this QEMU. A guest that has ended by then is a start too: `ended` tells.
 * Throws LaunchFailure with the cause, what `onSpawned` throws, and the signal's reason; in all these cases no process
 * is left behind (or ProcessStillAlive says that one is).
 */
export async function startQemu(options: StartOptions): Promise<RunningQemu> {
  options.signal.throwIfAborted();
  const { binPath, args, paths, cwd = paths.dir, confinement, limiter } = options;
  const rights = { ...(confinement && { confinement }), ...(limiter && { limiter }) };
  const process = await startConfined({ binPath, args, paths, cwd, ...rights });
  const start = new Handshake(options, process);
  try {
    const noted = options.onSpawned?.(process);
    const [{ client, status }] = await Promise.all([start.talk(), noted]);
    return new RunningQemu(options, {
      process,
      client,
      status,
      redial: (signal) => connectEitherMonitor({ paths, isAlive: () => start.isAlive, signal }),
    });
  } catch (error) {
    start.giveUp();
    throw await undo(process, error, options);
  }
}

/** The talk with a QEMU that is just starting; it can be given up at any point of it. */
class Handshake {
  readonly #options: StartOptions;
  readonly #over = new AbortController();
  #client: QmpClient | undefined;
  #exit: ExitFacts | undefined;

  constructor(options: StartOptions, process: QemuProcess) {
    this.#options = options;
    void process.exited.then((facts) => {
      this.#exit = facts;
    });
  }

  get isAlive(): boolean {
    return this.#exit === undefined;
  }

  async talk(): Promise<{ readonly client: QmpClient; readonly status: string }> {
    const { paths, qmpTimeoutMs, signal } = this.#options;
    const both = linkSignals([signal, this.#over.signal]);
    try {
      const client = await connectQmp({
        socketPath: paths.qmpSocket,
        timeoutMs: qmpTimeoutMs,
        isAlive: () => this.isAlive,
        signal: both.signal,
      });
      this.#client = client;
      const status = await within(askAll(client, this.#options), 2 * qmpTimeoutMs, both.signal);
      if (status === TIME_UP) throw new QmpError("timeout", "QEMU did not answer in time");
      return { client, status };
    } finally {
      both.release();
    }
  }

  giveUp(): void {
    this.#over.abort(new QmpError("closed", "the start was given up"));
    this.#client?.close();
  }
}

/** All questions go out at once: QEMU answers them when its main loop first turns, which is what takes its time. */
async function askAll(
  client: QmpClient,
  { vmId, expectedPort, qmpTimeoutMs: timeoutMs }: StartOptions,
): Promise<string> {
  const [first, uuid, forwards] = await Promise.all([
    client.execute("query-status", {}, { timeoutMs }),
    client.execute("query-uuid", {}, { timeoutMs }),
    expectedPort === undefined ? [] : listHostForwards(client, timeoutMs),
  ]);
  if (uuid.UUID !== vmId) throw new LaunchFailure("internal", `QEMU says that its uuid is ${uuid.UUID}, not ${vmId}`);
  if (expectedPort !== undefined && !forwards.some(({ port }) => port === expectedPort)) {
    throw new LaunchFailure("internal", `QEMU runs without having bound port ${expectedPort}`);
  }
  return first.status === "prelaunch" ? resume(client, timeoutMs) : settled(first.status);
}

/** A machine that was started with -S waits for this. */
async function resume(client: QmpClient, timeoutMs: number): Promise<string> {
  const [, { status }] = await Promise.all([
    client.execute("cont", {}, { timeoutMs }),
    client.execute("query-status", {}, { timeoutMs }),
  ]);
  return settled(status);
}

function settled(status: string): string {
  if (status === "running" || endOfStatus(status)?.kind.startsWith("guest-") === true) return status;
  throw new LaunchFailure("qemu_crashed", `QEMU started and then said that its status is '${status}'`);
}

/** Ends the process and finds out what the caller is to be told. */
async function undo(process: QemuProcess, error: unknown, options: StartOptions): Promise<unknown> {
  const isMonitorFailure = error instanceof QmpError;
  const endedItself = isMonitorFailure && (error.code === "process_gone" || error.code === "closed");
  const exit = endedItself ? await within(process.exited, EXIT_WAIT_MS) : TIME_UP;
  await killProcess(process, process.exited);
  if (!isMonitorFailure) return error;
  const { paths, operatorPaths, mask } = options;
  if (exit === TIME_UP) return new LaunchFailure("qemu_unresponsive", error.message, { cause: error });
  const cause = classifyFailure({
    output: (await readTail(paths.qemuLog, LOG_READ_BYTES)).toString("utf8"),
    exit,
    phase: "start",
    vmDir: paths.dir,
    ...(operatorPaths && { operatorPaths }),
    ...(mask && { mask }),
  });
  const { exitCode, signal } = exit;
  return new LaunchFailure(cause.code, cause.message, { cause: error, exit: { exitCode, signal } });
}
