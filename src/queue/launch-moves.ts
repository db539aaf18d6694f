import { z } from "zod";
import type { Forensics } from "../contract/forensics.ts";
import type { VmEventData, VmEventType } from "../contract/vm-event.ts";
import type { LaunchRecord } from "../contract/vm-record.ts";
import type { PriorityClass } from "../contract/vm-request.ts";
import type { VmState } from "../contract/vm-state.ts";
import type { TraceContext } from "../runtime/tracing/tracer.ts";

/** What of a removal mark a host acts on. */
export const RemovalMark = z.object({
  reason: z.enum(["requested", "ttl", "queue_timeout"]),
  force: z.boolean().default(false),
});
export type RemovalMark = z.infer<typeof RemovalMark>;

/** Who a launch is to Redis: host, epoch and token are compared in every script. */
export interface LaunchIdentity {
  readonly vmId: string;
  readonly pool: string;
  readonly priority: PriorityClass;
  readonly host: string;
  readonly epoch: number;
  readonly token: string;
}

export type PrepareRefusal = "no_port" | "no_record" | "not_owner" | "wrong_state" | "marked" | "avoided";

export type PrepareOutcome =
  | { readonly kind: "prepared"; readonly port: number; readonly history: LaunchHistory }
  /** `not_owner`: fenced; `wrong_state`: final already, settle the job from the record; `marked`: ended here as removed; `avoided`: this VM
   * keeps away from this host for now. */
  | { readonly kind: PrepareRefusal };

/** What the record says of the VM, from its acceptance and its earlier launches. */
export interface LaunchHistory {
  readonly attempts: number;
  readonly hasSecrets: boolean;
  readonly attemptsMade: number;
  readonly launches: readonly LaunchRecord[];
  /** When the TTL ends, if an earlier launch has run. */
  readonly deadlineAtMs: number | undefined;
  /** Hosts that failed this VM by a fault of their own, with the time until which they are avoided. */
  readonly avoid: Readonly<Record<string, number>>;
  /** When workers died in launches of this VM before it was running (Unix ms). */
  readonly crashes: readonly number[];
  /** Since when it waited (Unix ms); undefined where that is not known. */
  readonly queuedAtMs: number | undefined;
  /** Where the span of its acceptance stands. */
  readonly trace: TraceContext | undefined;
}

/** Values are texts as Redis holds them; null deletes the field. */
export type RecordFields = Readonly<Record<string, string | null>>;

export interface Move<T extends VmEventType = VmEventType> {
  readonly to: VmState;
  readonly event: { readonly type: T; readonly data: VmEventData<T> };
  readonly fields?: RecordFields;
  /** Shown on the dashboard. */
  readonly progress: Readonly<Record<string, unknown>>;
  /** Starts the TTL, unless an earlier launch has. */
  readonly ttlMs?: number | undefined;
  /** Given when the host holds nothing of the VM any more. */
  readonly leave?: Leave | undefined;
}

export interface Leave {
  /** What becomes of the sealed secrets: a number is how long they stay, in ms. */
  readonly box: "keep" | "delete" | number;
  readonly tail: { readonly console: string; readonly qemu: string } | undefined;
  /** What is kept of the launch when it has failed. */
  readonly forensics?: Forensics | undefined;
  readonly final: boolean;
  /** How long the record of a final VM is kept. */
  readonly keepMs: number;
}

export type MoveOutcome = "done" | "no_record" | "not_owner" | "wrong_state" | "marked";
