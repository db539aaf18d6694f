import { z } from "zod";
import { CAUSE_CODES, CAUSES, type Cause, type ProcessExit } from "../contract/causes.ts";
import { Forensics } from "../contract/forensics.ts";
import { POISON_CRASHES, POISON_WINDOW_MS } from "../contract/limits.ts";
import type { StopReason } from "./stop-request.ts";

/** How a launch ended, as seen by the supervisor. */
export type LaunchEnd =
  | { readonly kind: "guest_ended"; readonly reason: "guest_shutdown" | "guest_reset" }
  | {
      readonly kind: "failure";
      readonly cause: Cause;
      readonly exitCode?: number | undefined;
      /** How QEMU ended, where it ended by itself. */
      readonly exit?: ProcessExit | undefined;
    }
  | { readonly kind: "stopped"; readonly reason: Exclude<StopReason, "boot_timeout"> };

/**
 * What follows from the end of a launch. It is on disk before anything is undone, so that after a crash the end is
 * finished with the same outcome and the same delay.
 */
export const EndPlan = z.strictObject({
  v: z.literal(1),
  /**
   * `requeued`: the host's fault; `released`: the worker stops. Neither uses an attempt. `superseded`: the launch does
   * not count any more, and nothing of it is told.
   */
  outcome: z.enum(["completed", "removed", "expired", "failed", "retrying", "requeued", "released", "superseded"]),
  reason: z.string(),
  cause: z.strictObject({ code: z.enum(CAUSE_CODES), message: z.string() }).nullable(),
  exitCode: z.int().nullable(),
  /** Base64 of what the guest handed back. */
  resultData: z.string().nullable(),
  delayMs: z.int(),
  attemptsMade: z.int(),
  /** Set when this host's own fault ended the launch. */
  avoidUntilMs: z.int().nullable(),
  endedAtMs: z.int(),
  /** When workers died in launches of this VM before it was running, this one's included. */
  crashes: z.array(z.int()).default([]),
  tail: z.strictObject({ console: z.string(), qemu: z.string() }),
  /** There when the launch has failed. */
  forensics: Forensics.optional(),
});
export type EndPlan = z.infer<typeof EndPlan>;

export interface EndFacts {
  readonly end: LaunchEnd;
  /** What the guest handed back over `drover.result`, if anything. */
  readonly guestResult: { readonly exitCode: number; readonly payload: Buffer } | undefined;
  /** A removal mark, which turns every way back into the queue into an end. */
  readonly marked: "requested" | "ttl" | "queue_timeout" | undefined;
  readonly attemptsMade: number;
  readonly attempts: number;
  readonly retryComputation: boolean;
  /** Whether another live host of the pool could take the VM after a fault of this one. */
  readonly otherHosts: boolean;
  /** When workers died in earlier launches of this VM before it was running (Unix ms). */
  readonly crashes: readonly number[];
  /** Whether a worker that died in this launch died of it, as far as can be told. */
  readonly isSuspect: boolean;
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
  readonly nowMs: number;
  /** 0 to 1: spreads retries. */
  readonly random: number;
}

/** Causes whose requeue is not this host's configuration: the same host may take the VM again. */
const SAME_HOST_MAY_RETRY = new Set<Cause["code"]>([
  "host_shutdown",
  "worker_crashed",
  "host_lost",
  "ports_exhausted",
  "gpu_busy",
]);
const AVOID_HOST_MS = 5 * 60_000;
const RELEASE_DELAY_MS = 1_000;

/** A fault of the host itself, by which it would spoil the next launch as well. */
export function isHostFault(code: Cause["code"]): boolean {
  return CAUSES[code].retry === "requeue" && !SAME_HOST_MAY_RETRY.has(code);
}

/** Decides, once, what the end of a launch means. Pure. */
export function planEnd(facts: EndFacts): Omit<EndPlan, "v" | "tail" | "forensics"> {
  const base = {
    cause: null,
    exitCode: facts.guestResult?.exitCode ?? null,
    resultData: facts.guestResult?.payload.toString("base64") ?? null,
    delayMs: 0,
    attemptsMade: facts.attemptsMade,
    avoidUntilMs: null,
    endedAtMs: facts.nowMs,
    crashes: recentCrashes(facts),
  };
  const { end } = facts;
  if (end.kind === "stopped") {
    const { reason } = end;
    if (reason === "superseded") return { ...base, outcome: "superseded", reason };
    if (reason !== "released") return { ...base, ...removal(reason) };
  }
  if (end.kind === "guest_ended") {
    const exitCode = facts.guestResult?.exitCode ?? 0;
    if (exitCode === 0) return { ...base, outcome: "completed", reason: end.reason };
    const cause: Cause = { code: "computation_failed", message: `the guest handed back exit code ${exitCode}` };
    return { ...base, ...failed(facts, cause, facts.retryComputation ? "backoff" : "never") };
  }
  if (facts.marked !== undefined) return { ...base, ...removal(facts.marked) };
  if (end.kind === "stopped") return { ...base, outcome: "released", reason: "released", delayMs: RELEASE_DELAY_MS };
  const exitCode = end.exitCode ?? base.exitCode;
  const { retry } = CAUSES[end.cause.code];
  if (retry !== "requeue")
    return { ...base, exitCode, ...failed(facts, end.cause, retry === "never" ? "never" : "backoff") };
  return { ...base, exitCode, ...requeued(facts, end.cause) };
}

/** Those that still count; a worker that died in this launch is one more. */
function recentCrashes({ crashes, isSuspect, end, nowMs }: EndFacts): number[] {
  const recent = crashes.filter((atMs) => nowMs - atMs < POISON_WINDOW_MS);
  return isSuspect && end.kind === "failure" && end.cause.code === "worker_crashed" ? [...recent, nowMs] : recent;
}

function removal(reason: "requested" | "ttl" | "queue_timeout") {
  return { outcome: reason === "requested" ? "removed" : "expired", reason } as const;
}

function failed(facts: EndFacts, cause: Cause, retry: "never" | "backoff") {
  const attemptsMade = facts.attemptsMade + 1;
  if (retry === "never" || attemptsMade >= facts.attempts) {
    return { outcome: "failed", reason: cause.code, cause, attemptsMade } as const;
  }
  return {
    outcome: "retrying",
    reason: cause.code,
    cause,
    attemptsMade,
    delayMs: backoff(facts, attemptsMade),
  } as const;
}

/** A fault of the host uses no attempt; when no other host is left to try, the VM fails with that cause at once. */
function requeued(facts: EndFacts, cause: Cause) {
  if (cause.code === "worker_crashed" && recentCrashes(facts).length >= POISON_CRASHES) {
    const poisoned: Cause = { code: "poisoned", message: `${POISON_CRASHES} workers died while they launched this VM` };
    return { outcome: "failed", reason: poisoned.code, cause: poisoned, attemptsMade: facts.attemptsMade + 1 } as const;
  }
  if (!isHostFault(cause.code)) {
    return { outcome: "requeued", reason: cause.code, cause, delayMs: RELEASE_DELAY_MS } as const;
  }
  if (!facts.otherHosts)
    return { outcome: "failed", reason: cause.code, cause, attemptsMade: facts.attemptsMade + 1 } as const;
  const avoidUntilMs = facts.nowMs + AVOID_HOST_MS;
  return { outcome: "requeued", reason: cause.code, cause, delayMs: RELEASE_DELAY_MS, avoidUntilMs } as const;
}

/** Exponential from `backoffMs`, cut at `backoffMaxMs`, the upper half random, so that failures do not come in step. */
function backoff({ backoffMs, backoffMaxMs, random }: EndFacts, attemptsMade: number): number {
  const full = Math.min(backoffMs * 2 ** (attemptsMade - 1), backoffMaxMs);
  return Math.round(full / 2 + (full / 2) * random);
}
