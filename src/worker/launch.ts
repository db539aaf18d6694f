import type { LaunchRecord, VmRecord } from "../contract/vm-record.ts";
import type { VmSpec } from "../contract/vm-request.ts";
import type { VmPaths } from "../qemu/vm-paths.ts";
import type { LaunchIdentity } from "../queue/launch-moves.ts";
import type { LiveLaunch, LiveState } from "../queue/ownership.ts";
import type { TraceContext } from "../runtime/tracing/tracer.ts";
import type { LocalRecord } from "./local-record.ts";

/** One launch in this worker's hands: prepared, with its port, its directory and its intent on disk. */
export interface Launch {
  readonly identity: LaunchIdentity;
  readonly owner: string;
  readonly spec: VmSpec;
  readonly attempts: number;
  readonly attemptsMade: number;
  readonly hasSecrets: boolean;
  readonly earlierLaunches: readonly LaunchRecord[];
  readonly avoid: Readonly<Record<string, number>>;
  /** When workers died in launches of this VM before it was running (Unix ms). */
  readonly crashes: readonly number[];
  /** Unix ms; set when this or an earlier launch has run: the TTL goes on. */
  deadlineAtMs: number | undefined;
  /** PCI address of the GPU that it holds until its end. */
  readonly gpu: string | false;
  /** What its guest has of the host's memory until its end; undefined where nobody noted it. */
  readonly memoryBytes: number | undefined;
  readonly paths: VmPaths;
  readonly startedAtMs: number;
  /** Since when it waited to be launched (Unix ms, by Redis); unknown of a launch that was taken over. */
  readonly queuedAtMs?: number | undefined;
  /** Where the span of the VM's acceptance stands; undefined where that was not traced. */
  readonly trace: TraceContext | undefined;
  /** Why nothing can be launched: the job's data is not readable. */
  readonly problem: string | undefined;
  /** What is on disk of the launch; replaced as more is known. */
  record: LocalRecord;
  /** How far the launch is, as Redis has said. */
  state: LiveState;
  /** Its end is being published: Redis is not told of it as a live launch any more. */
  ended: boolean;
  /** Changes when a foreign process holds the first one; undefined once it is given back without another. */
  port: number | undefined;
  /** The QEMU command as one shell line, secrets masked, once it is known. */
  command: string | undefined;
  /** What its attestation policy is made of (an AttestationRecord, as text), once it is known; none for a plain VM. */
  attestation?: string | undefined;
}

/** What Redis is told of the launch when it has lost it. */
export function toLive(launch: Launch): LiveLaunch {
  const { identity, state, port, record, deadlineAtMs, command, attestation } = launch;
  const text = (value: number | string | null | undefined) => (value == null ? null : String(value));
  return {
    identity,
    state,
    port,
    snapshot: record.snapshot ?? undefined,
    fields: {
      port: text(port),
      address: text(record.address),
      runningAtMs: text(record.runningAtMs),
      deadlineAtMs: text(deadlineAtMs),
      command: text(command),
      attestation: text(attestation),
    },
    job: record.job,
    deadlineAtMs,
  };
}

/** The launch that a local record tells of, with what Redis knows of its VM, if it does. */
export function launchFromDisk(local: LocalRecord, known: VmRecord | undefined, paths: VmPaths): Launch {
  const { vmId, epoch, token, hostId, job, snapshot } = local;
  const number = (field: string) => (snapshot?.[field] === undefined ? undefined : Number(snapshot[field]));
  return {
    identity: { vmId, pool: job.pool, priority: job.spec.priority ?? "normal", host: hostId, epoch, token },
    owner: job.owner,
    spec: job.spec,
    attempts: known?.attempts ?? number("attempts") ?? 1,
    // From Redis first: a launch that did not get far has not written them to disk.
    attemptsMade: known?.attemptsMade ?? local.attemptsMade,
    hasSecrets: known?.hasSecrets ?? snapshot?.["hasSecrets"] === "1",
    earlierLaunches: known?.launches ?? [],
    avoid: known?.avoid ?? {},
    crashes: known?.crashes ?? [],
    deadlineAtMs: known?.deadlineAtMs ?? local.deadlineAtMs ?? undefined,
    // From what PREPARE wrote: it is in Redis, or on disk since before QEMU was told to be running.
    gpu: (known?.epoch === epoch ? known.gpu : snapshot?.["gpu"]) ?? false,
    memoryBytes: (known?.epoch === epoch ? known.memoryBytes : undefined) ?? number("memoryBytes"),
    paths,
    startedAtMs: local.createdAtMs,
    trace: known?.trace ?? snapshot?.["trace"],
    problem: undefined,
    record: local,
    state: local.state,
    ended: false,
    // The port may have changed between Redis and the disk.
    port: (known?.epoch === epoch ? known.port : undefined) ?? local.port ?? undefined,
    command: known?.epoch === epoch ? known.command : undefined,
    // On disk since before QEMU existed.
    attestation: snapshot?.["attestation"],
  };
}
