import type { FaultKind } from "./history.ts";
import { Random } from "./random.ts";
import type { GuestMode } from "./truth-qemu.ts";
import { type Edge, HOSTS, TIMINGS } from "./world.ts";

export interface PlannedFault {
  readonly id: number;
  readonly atMs: number;
  readonly kind: FaultKind;
  /** A host, an edge, `api`, `redis`; `any` for a QEMU that lives then. */
  readonly target: string;
  /** How long it lasts; 0 for what happens in a moment. */
  readonly forMs: number;
  /** Latency in ms, bytes to the cut, a worker's slots from then on. */
  readonly amount: number;
  /** In [0, 1): which one, where there are several. */
  readonly pick: number;
}

export interface PlannedOp {
  readonly atMs: number;
  readonly client: string;
  readonly kind: "submit" | "resend" | "remove" | "retry" | "get";
  readonly guest: GuestMode;
  readonly attempts: number;
  readonly ttlMs: number | undefined;
  /** When its client removes the VM again; undefined: at the end of the run, or never. */
  readonly removeAfterMs: number | undefined;
  readonly force: boolean;
  /** The client does not ask again when the answer is lost. */
  readonly careless: boolean;
  readonly pick: number;
}

export interface Plan {
  readonly seed: string;
  readonly durationMs: number;
  readonly policy: "rerun" | "hold";
  readonly onPartition: "keep" | "stop";
  readonly dataLoss: boolean;
  /** MANAGER_MAX_VMS of each host. */
  readonly maxVms: number;
  readonly opsPerS: number;
  readonly faultGapMs: number;
  readonly faults: readonly PlannedFault[];
  readonly ops: readonly PlannedOp[];
}

export interface PlanOptions {
  readonly seed: string;
  readonly durationMs: number;
  /** Client operations a second, half of them new VMs. */
  readonly opsPerS: number;
  /** Mean time between faults. */
  readonly faultGapMs: number;
  readonly maxVms: number;
  readonly only?: readonly FaultKind[];
  readonly policy?: "rerun" | "hold";
  readonly onPartition?: "keep" | "stop";
  readonly dataLoss?: boolean;
  /** Workers die, or get SIGTERM, at every step of a launch, an end and a takeover. */
  readonly failPoints?: boolean;
}

/** The options of a run as tests and soak make it; a seed that ends in `-loss` has Redis lose its data. */
export function planOptions(run: {
  readonly seed: string;
  readonly runS: number;
  readonly opsPerS?: number | undefined;
  readonly faultGapMs?: number | undefined;
  readonly failPoints?: boolean;
}): PlanOptions {
  return {
    seed: run.seed,
    durationMs: run.runS * 1_000,
    opsPerS: run.opsPerS ?? 6,
    faultGapMs: run.faultGapMs ?? 1_500,
    maxVms: 10,
    dataLoss: run.seed.endsWith("-loss"),
    failPoints: run.failPoints ?? false,
  };
}

const FAULT_WEIGHTS: Readonly<Record<FaultKind, number>> = {
  "worker-kill": 4,
  "worker-term": 2,
  "worker-fail-point": 0,
  "worker-pause": 1.5,
  "api-kill": 1,
  "redis-kill": 1,
  "redis-flush": 0,
  "qemu-kill": 2.5,
  "qemu-pause": 1,
  latency: 1,
  "black-hole": 2,
  reset: 1,
  "half-open": 1,
  "cut-after": 1.5,
  "foreign-port": 1,
};

const GUEST_WEIGHTS: Readonly<Record<GuestMode, number>> = {
  patient: 40,
  brief: 30,
  poweroff: 6,
  panic: 6,
  exit: 6,
  slow: 8,
  "fake-deaf": 2,
  "fake-dies-with-3": 2,
};

const CLIENTS = ["c1", "c2", "c3"] as const;
const EDGES: Readonly<Record<Edge, number>> = { "h1-redis": 3, "h2-redis": 3, "api-redis": 2, "client-api": 1 };
/** VMs that nobody removes: they are to live through everything. */
const STAYERS = 3;

/** What happens when. The same seed gives the same plan; what comes of it depends on the machine's scheduler. */
export function makePlan(options: PlanOptions): Plan {
  const random = new Random(options.seed);
  const policy = options.policy ?? (random.chance(0.7) ? "rerun" : "hold");
  const onPartition = options.onPartition ?? (random.chance(0.5) ? "keep" : "stop");
  return {
    seed: options.seed,
    durationMs: options.durationMs,
    policy,
    onPartition,
    dataLoss: options.dataLoss ?? false,
    maxVms: options.maxVms,
    opsPerS: options.opsPerS,
    faultGapMs: options.faultGapMs,
    ops: planOps(random.fork("ops"), options),
    faults: planFaults(random.fork("faults"), options),
  };
}

function planFaults(random: Random, options: PlanOptions): PlannedFault[] {
  const weights = {
    ...FAULT_WEIGHTS,
    ...(options.dataLoss === true ? { "redis-flush": 2 } : {}),
    ...(options.failPoints === true ? { "worker-fail-point": 4 } : {}),
  };
  for (const kind of Object.keys(weights) as FaultKind[]) // its keys are exactly these
    if (options.only !== undefined && !options.only.includes(kind)) weights[kind] = 0;
  const busyUntil = new Map<string, number>();
  const faults: PlannedFault[] = [];
  for (let atMs = 2_000 + random.gap(500); atMs < options.durationMs; atMs += random.gap(options.faultGapMs)) {
    const kind = random.weighted(weights);
    const target = targetOf(kind, random);
    const forMs = Math.round(lengthOf(kind, random));
    const amount = amountOf(kind, random, options.maxVms);
    const pick = random.next();
    if (target !== "any" && (busyUntil.get(target) ?? 0) > atMs) continue;
    busyUntil.set(target, atMs + forMs + 200);
    faults.push({ id: faults.length + 1, atMs: Math.round(atMs), kind, target, forMs, amount, pick });
  }
  return faults;
}

function targetOf(kind: FaultKind, random: Random): string {
  if (kind.startsWith("worker-") || kind === "foreign-port") return HOSTS[random.int(0, 1)] ?? "h1";
  if (kind === "api-kill") return "api";
  if (kind.startsWith("redis-")) return "redis";
  if (kind.startsWith("qemu-")) return "any";
  return random.weighted(EDGES);
}

function lengthOf(kind: FaultKind, random: Random): number {
  // Beyond the time after which a host is lost, now and then.
  const long = random.chance(0.2);
  const longMs = TIMINGS.hostLostAfterMs + random.int(1_500, 3_500);
  switch (kind) {
    case "worker-kill":
    case "black-hole":
      return long ? longMs : random.int(100, 2_500);
    case "worker-pause":
      return long ? longMs : TIMINGS.leaseMs + random.int(300, 2_000);
    case "worker-term":
      return random.int(0, 1_000);
    case "worker-fail-point":
      return random.int(2_000, 5_000);
    case "api-kill":
      return random.int(0, 800);
    case "redis-kill":
      return random.int(50, 2_500);
    case "qemu-pause":
      return random.int(500, 5_000);
    case "qemu-kill":
    case "redis-flush":
      return 0;
    default:
      return random.int(300, 4_000);
  }
}

function amountOf(kind: FaultKind, random: Random, maxVms: number): number {
  if (kind === "latency") return random.int(20, 700);
  if (kind === "cut-after") return random.int(1, 4_000);
  if (kind === "foreign-port") return random.int(1, 6);
  if (kind.startsWith("worker-")) return random.chance(0.25) ? random.int(1, maxVms - 1) : maxVms;
  return 0;
}

function planOps(random: Random, { durationMs, opsPerS }: PlanOptions): PlannedOp[] {
  const ops: PlannedOp[] = [];
  for (let atMs = 0; atMs < durationMs; atMs += random.gap(1_000 / opsPerS)) {
    const kind = random.weighted({ submit: 55, resend: 8, remove: 8, retry: 7, get: 22 });
    const stays = ops.length < STAYERS;
    const guest = stays ? "patient" : random.weighted(GUEST_WEIGHTS);
    const endsBy = random.weighted({ ttl: 10, client: 10, harness: 1 });
    const lifeMs = random.int(300, 5_000);
    const force = random.chance(0.4);
    // Nobody can remove a VM of which its client does not know, so that one ends by its TTL.
    const careless = !stays && random.chance(0.1);
    ops.push({
      atMs: Math.round(atMs),
      client: CLIENTS[random.int(0, CLIENTS.length - 1)] ?? "c1",
      kind: stays ? "submit" : kind,
      guest,
      attempts: stays ? 5 : random.int(1, 4),
      ttlMs: !stays && (endsBy === "ttl" || careless) ? lifeMs : undefined,
      removeAfterMs: !stays && endsBy === "client" ? lifeMs : undefined,
      force,
      careless,
      pick: random.next(),
    });
  }
  return ops;
}

/** The command that makes this plan again. */
export function repeatCommand({ seed, durationMs, opsPerS, faultGapMs }: Plan): string {
  return `npm run soak -- --seed ${seed} --runs 1 --run-s ${durationMs / 1000} --ops-per-s ${opsPerS} --fault-gap-ms ${faultGapMs}`;
}

/** The plan in words, one line for each fault. */
export function describePlan(plan: Plan): string {
  const submits = plan.ops.filter(({ kind }) => kind === "submit").length;
  const head = `seed ${plan.seed}: ${plan.durationMs / 1000} s, ${plan.policy} + ${plan.onPartition}${plan.dataLoss ? ", with loss of data" : ""}, ${submits} VMs, ${plan.faults.length} faults`;
  const lines = plan.faults.map(
    ({ atMs, kind, target, forMs, amount }) =>
      `  ${(atMs / 1000).toFixed(1).padStart(6)} s  ${kind} ${target}${forMs > 0 ? ` for ${forMs} ms` : ""}${amount > 0 ? ` (${amount})` : ""}`,
  );
  return [head, ...lines].join("\n");
}
