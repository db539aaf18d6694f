import type { VmEventType } from "../../../src/contract/vm-event.ts";
import { type EntryType, type Facts, type History, Recorder } from "../../chaos/history.ts";

export const A = "aaaaaaaa-0000-4000-8000-000000000001";
export const B = "bbbbbbbb-0000-4000-8000-000000000002";

const RUN: Facts["run"] = {
  seed: "by hand",
  policy: "rerun",
  onPartition: "stop",
  leaseMs: 2_000,
  hostLostAfterMs: 6_000,
  settleMs: 30_000,
  dataLoss: false,
  hosts: { h1: { first: 14_000, last: 14_039 }, h2: { first: 14_040, last: 14_079 } },
};

/** Writes a history by hand, in the words of a run. Times are ms since its beginning. */
export class HistoryMaker {
  readonly #recorder = new Recorder();
  readonly #seq = new Map<string, number>();
  #eventCount = 0;
  #op = 0;

  constructor(run: Partial<Facts["run"]> = {}) {
    this.add(0, "run", { ...RUN, ...run });
  }

  add<F extends keyof Facts>(t: number, f: F, value: Facts[F], more: { type?: EntryType; vmId?: string } = {}): this {
    this.#recorder.add(f, value, { process: "hand", t, ...more });
    return this;
  }

  submit(t: number, vmId: string, key: string, outcome: EntryType = "ok"): this {
    const value = { op: ++this.#op, key, attempts: 3 };
    this.add(t, "submit", value, { type: "invoke" });
    if (outcome !== "invoke")
      this.add(t + 1, "submit", value, { type: outcome, ...(outcome === "ok" ? { vmId } : {}) });
    return this;
  }

  event(t: number, vmId: string, name: VmEventType, data: Record<string, unknown> = {}): this {
    const seq = (this.#seq.get(vmId) ?? 0) + 1;
    return this.numbered(t, vmId, name, seq, data);
  }

  /** An event with a number of its own choice. */
  numbered(t: number, vmId: string, name: VmEventType, seq: number, data: Record<string, unknown> = {}): this {
    this.#seq.set(vmId, seq);
    return this.add(t, "event", { id: `${t}-${this.#eventCount++}`, seq, name, data }, { vmId });
  }

  /** A QEMU from its launch to its end; without an end it lives on. */
  qemu(
    vmId: string,
    epoch: number,
    host: string,
    life: { pid: number; from: number; until?: number; port?: number; mode?: string },
  ): this {
    const { pid, from, until, port, mode = "patient" } = life;
    this.add(from, "launch", { pid, host, epoch, mode }, { vmId });
    this.add(from + 10, "qemu", { what: "up", pid, host, epoch }, { vmId });
    if (port !== undefined) this.add(from + 20, "qemu", { what: "port", pid, host, epoch, port }, { vmId });
    if (until !== undefined)
      this.add(until + 100, "qemu", { what: "gone", pid, host, epoch, lastSeenMs: until }, { vmId });
    return this;
  }

  /** The events of a launch until it runs. */
  launched(t: number, vmId: string, epoch: number, host: string, port: number): this {
    return this.event(t, vmId, "vm.preparing", { host, epoch, port })
      .event(t + 10, vmId, "vm.starting", { host, epoch, port })
      .event(t + 50, vmId, "vm.running", { host, epoch, port });
  }

  record(vmId: string, state: Facts["record"]["state"], more: Partial<Facts["record"]> = {}): this {
    const seq = this.#seq.get(vmId) ?? 0;
    const value = { state, epoch: 1, seq, key: undefined, host: undefined, port: undefined, ...more };
    return this.add(90_000, "record", value, { vmId });
  }

  fault(from: number, until: number, kind: Facts["fault"]["kind"], target: string): this {
    const value = { id: ++this.#op, kind, target };
    return this.add(from, "fault", value, { type: "invoke" }).add(until, "fault", value, { type: "ok" });
  }

  worker(t: number, host: string, what: Facts["worker"]["what"], more: Partial<Facts["worker"]> = {}): this {
    return this.add(t, "worker", { host, what, pid: 1, maxVms: 2, ...more });
  }

  get history(): History {
    return this.#recorder.history();
  }
}

/** A VM that was accepted, ran, was removed, and left nothing: right in every way. */
export function goodHistory(): HistoryMaker {
  return new HistoryMaker()
    .worker(1, "h1", "start")
    .worker(2, "h1", "ready")
    .submit(100, A, "a")
    .event(110, A, "vm.queued", { reason: "accepted" })
    .launched(200, A, 1, "h1", 14_000)
    .qemu(A, 1, "h1", { pid: 70, from: 205, until: 5_000, port: 14_000 })
    .event(4_900, A, "vm.removal_requested", { reason: "requested" })
    .event(4_950, A, "vm.stopping", { host: "h1", epoch: 1 })
    .event(5_020, A, "vm.removed", { reason: "requested" })
    .record(A, "removed", { key: "a" })
    .add(80_000, "settled", { tookMs: 900, open: [] })
    .add(81_000, "scan", { when: "live", problems: [] })
    .add(82_000, "scan", { when: "empty", problems: [] });
}
