import { describe, expect, test } from "vitest";
import { oneMachine } from "../../chaos/checkers/i03-one-machine.ts";
import { oneVmPerPort } from "../../chaos/checkers/i04-one-vm-per-port.ts";
import { eventsTellEverything } from "../../chaos/checkers/i06-events-tell-everything.ts";
import { nothingAfterTheEnd } from "../../chaos/checkers/i07-nothing-after-the-end.ts";
import { noVmIsDisturbed } from "../../chaos/checkers/i13-no-vm-is-disturbed.ts";
import type { Checker } from "../../chaos/history.ts";
import { overlapsOf } from "../../chaos/lives.ts";
import { A, B, goodHistory, HistoryMaker } from "./history-maker.ts";

const messages = (check: Checker, made: HistoryMaker) => check(made.history).map(({ message }) => message);

describe("I3: one machine", () => {
  const twice = (secondHost: string, run: ConstructorParameters<typeof HistoryMaker>[0] = {}) =>
    new HistoryMaker(run)
      .qemu(A, 1, "h1", { pid: 70, from: 1_000, until: 9_500 })
      .qemu(A, 2, secondHost, { pid: 71, from: 9_000 });

  test("two QEMUs of one VM at one time are told, on two hosts or on one", () => {
    expect(messages(oneMachine, twice("h2"))[0]).toContain("lived at once for 500 ms");
    expect(messages(oneMachine, twice("h1"))).toHaveLength(1);
  });

  test("a QEMU too brief for the process table is seen by its launch", () => {
    const brief = new HistoryMaker()
      .qemu(A, 1, "h1", { pid: 70, from: 1_000, until: 9_500 })
      .add(5_000, "launch", { pid: 71, host: "h2", epoch: 2, mode: "exit" }, { vmId: A });
    expect(messages(oneMachine, brief)).toHaveLength(1);
  });

  test("one after the other is right, and so is another port within a launch", () => {
    const made = new HistoryMaker()
      .qemu(A, 1, "h1", { pid: 70, from: 1_000, until: 2_000 })
      .qemu(A, 1, "h1", { pid: 71, from: 2_100, until: 3_000 })
      .qemu(A, 2, "h2", { pid: 72, from: 4_000 });
    expect(messages(oneMachine, made)).toEqual([]);
  });

  test("launches are numbered upwards", () => {
    const back = new HistoryMaker()
      .qemu(A, 2, "h1", { pid: 70, from: 1_000, until: 2_000 })
      .qemu(A, 1, "h2", { pid: 71, from: 3_000, until: 4_000 });
    expect(messages(oneMachine, back)).toEqual(["launch 1 on h2 came after launch 2 on h1"]);
    const same = new HistoryMaker()
      .qemu(A, 1, "h1", { pid: 70, from: 1_000, until: 2_000 })
      .qemu(A, 1, "h2", { pid: 71, from: 3_000, until: 4_000 });
    expect(messages(oneMachine, same)).toHaveLength(1);
  });

  test("a host that was cut off alive may overlap under rerun + keep, bounded, and nowhere else", () => {
    const keep = { policy: "rerun", onPartition: "keep" } as const;
    const cut = (made: HistoryMaker) => made.fault(2_000, 9_200, "black-hole", "h1-redis");
    expect(messages(oneMachine, cut(twice("h2", keep)))).toEqual([]);
    expect(overlapsOf(cut(twice("h2", keep)).history)).toMatchObject([{ allowed: true, overlapMs: 500 }]);
    expect(messages(oneMachine, twice("h2", keep)), "was not cut off").toHaveLength(1);
    expect(messages(oneMachine, cut(twice("h1", keep))), "the same host").toHaveLength(1);
    expect(messages(oneMachine, cut(twice("h2")))).toHaveLength(1);
    expect(messages(oneMachine, cut(twice("h2", { policy: "hold", onPartition: "keep" })))).toHaveLength(1);
    const early = twice("h2", keep).fault(7_000, 9_200, "black-hole", "h1-redis");
    expect(messages(oneMachine, early), "not silent for long enough").toHaveLength(1);
    const forEver = new HistoryMaker(keep)
      .qemu(A, 1, "h1", { pid: 70, from: 1_000 })
      .qemu(A, 2, "h2", { pid: 71, from: 9_000 })
      .fault(2_000, 9_200, "black-hole", "h1-redis")
      .add(60_000, "healed", {});
    expect(messages(oneMachine, forEver), "never stopped").toHaveLength(1);
    const paused = twice("h2", keep).fault(2_000, 9_200, "worker-pause", "h1");
    expect(messages(oneMachine, paused), "a stopped worker has a guard").toHaveLength(1);
  });
});

describe("I4: one VM per port", () => {
  const running = () => new HistoryMaker().event(1, A, "vm.queued").launched(100, A, 1, "h1", 14_000);

  test("a port that is held is not given again", () => {
    const made = running().event(200, B, "vm.queued").launched(300, B, 1, "h1", 14_000);
    expect(messages(oneVmPerPort, made)).toEqual([`got port 14000 while ${A} held it`]);
  });

  test.each(["vm.removed", "vm.retrying", "vm.queued", "vm.failed"] as const)("%s gives it back", (name) => {
    const made = running().event(150, A, name).event(200, B, "vm.queued").launched(300, B, 1, "h1", 14_000);
    expect(messages(oneVmPerPort, made)).toEqual([]);
  });

  test("a change of port gives back the one and takes the other", () => {
    const changed = running()
      .event(180, A, "vm.port_changed", { host: "h1", epoch: 1, port: 14_001, setAside: 14_000 })
      .event(200, B, "vm.queued");
    expect(messages(oneVmPerPort, changed.launched(300, B, 1, "h1", 14_001))).toHaveLength(1);
  });

  test("a port outside of the host's range, and one that QEMU does not listen on", () => {
    expect(messages(oneVmPerPort, new HistoryMaker().launched(100, A, 1, "h2", 14_000))).toHaveLength(1);
    const other = running().qemu(A, 1, "h1", { pid: 70, from: 105, port: 14_005 });
    expect(messages(oneVmPerPort, other)).toEqual(["was said to run on port 14000, and its QEMU listens on 14005"]);
  });
});

describe("I6: events tell everything", () => {
  test("a hole in the numbers", () => {
    const made = new HistoryMaker()
      .numbered(1, A, "vm.queued", 1)
      .numbered(2, A, "vm.removed", 3)
      .record(A, "removed", { epoch: 0 });
    expect(messages(eventsTellEverything, made)).toEqual([
      "its events are numbered 1,3",
      "its record counts 3 events, there are 2",
    ]);
  });

  test("a move that the table does not have", () => {
    const made = new HistoryMaker()
      .event(1, A, "vm.queued")
      .event(2, A, "vm.running", { epoch: 1 })
      .record(A, "running");
    expect(messages(eventsTellEverything, made)).toEqual(["event 2 goes from queued to running"]);
    const first = new HistoryMaker().event(1, A, "vm.preparing", { epoch: 1 }).record(A, "preparing");
    expect(messages(eventsTellEverything, first)).toEqual(["event 1 goes from nothing to preparing"]);
  });

  test("a launch of which an older one is told afterwards; a stopped copy is told as what it is", () => {
    const made = (name: "vm.retrying" | "vm.copy_stopped") =>
      new HistoryMaker()
        .event(1, A, "vm.queued")
        .launched(100, A, 2, "h1", 14_000)
        .event(300, A, name, { epoch: 1, host: "h2" })
        .record(A, name === "vm.retrying" ? "retrying" : "running", { epoch: 2 });
    expect(messages(eventsTellEverything, made("vm.retrying"))).toEqual([
      "event 5 (vm.retrying) is of launch 1 after launch 2",
    ]);
    expect(messages(eventsTellEverything, made("vm.copy_stopped"))).toEqual([]);
  });

  test("a record that says something else than its events, or nothing at all", () => {
    const made = () => new HistoryMaker().event(1, A, "vm.queued").launched(100, A, 1, "h1", 14_000);
    expect(messages(eventsTellEverything, made().record(A, "ready"))).toEqual([
      "its record says ready, its events running",
    ]);
    expect(messages(eventsTellEverything, made().record(A, "running", { epoch: 2 }))).toHaveLength(1);
    expect(messages(eventsTellEverything, made())).toEqual(["has events and no record"]);
  });

  test("a VM that Redis had back in the queue may go on where its host has it", () => {
    const back = () =>
      new HistoryMaker()
        .event(1, A, "vm.queued")
        .launched(100, A, 1, "h1", 14_000)
        .event(9_000, A, "vm.queued", { reason: "host_lost" })
        .event(9_500, A, "vm.reasserted", { host: "h1", epoch: 1 });
    expect(messages(eventsTellEverything, back().record(A, "running"))).toEqual([]);
    expect(messages(eventsTellEverything, back().event(9_600, A, "vm.stopping").record(A, "stopping"))).toEqual([]);
    expect(messages(eventsTellEverything, back().event(9_600, A, "vm.preparing").record(A, "preparing"))).toHaveLength(
      1,
    );
  });

  describe("a reader", () => {
    const stream = () => {
      const made = new HistoryMaker();
      for (let n = 1; n <= 4; n++) made.numbered(n, A, n === 1 ? "vm.queued" : "vm.port_changed", n, {});
      return made.record(A, "queued", { epoch: 0 });
    };
    const reads = (made: HistoryMaker, ids: readonly string[]) => {
      for (const [index, id] of ids.entries())
        made.add(100 + index, "read", { reader: "r1", event: { id, seq: 1, name: "vm.queued", data: {} } });
      return made;
    };
    const ids = ["1-0", "2-1", "3-2", "4-3"];

    test("that got everything once is right, from wherever it began", () => {
      expect(messages(eventsTellEverything, reads(stream(), ids))).toEqual([]);
      expect(messages(eventsTellEverything, reads(stream(), ids.slice(2)))).toEqual([]);
    });

    test.each([
      ["a gap", ["1-0", "3-2", "4-3"], "got 3-2 and not the 1 events before it (2-1)"],
      ["a repeat", ["1-0", "2-1", "2-1", "3-2", "4-3"], "got 2-1 again"],
      ["a missing end", ["1-0", "2-1"], "never got the last 2 events"],
      ["a stranger", [...ids, "7-0"], "got 7-0, which the stream does not have"],
    ])("%s is told", (_what, got, message) => {
      expect(messages(eventsTellEverything, reads(stream(), got))).toEqual([`reader r1: ${message}`]);
    });

    test("that was told of a gap has missed something", () => {
      const made = reads(stream(), ids).add(99, "read", { reader: "r1", gap: true });
      expect(messages(eventsTellEverything, made)).toEqual(["reader r1: was told of a gap"]);
    });
  });
});

describe("I7: nothing after the end", () => {
  test("a process that lives when its VM is said to be gone", () => {
    const made = new HistoryMaker()
      .event(1, A, "vm.queued")
      .launched(100, A, 1, "h1", 14_000)
      .event(1_000, A, "vm.removed")
      .qemu(A, 1, "h1", { pid: 70, from: 105, until: 1_300 });
    expect(messages(nothingAfterTheEnd, made)[0]).toContain("lived until 1300");
  });

  test("a process that lives when its VM waits again", () => {
    const made = (data: Record<string, unknown>) =>
      new HistoryMaker()
        .launched(100, A, 1, "h1", 14_000)
        .event(1_000, A, "vm.queued", data)
        .qemu(A, 1, "h1", { pid: 70, from: 105, until: 1_300 });
    expect(messages(nothingAfterTheEnd, made({ reason: "requeued" }))).toHaveLength(1);
    expect(messages(nothingAfterTheEnd, made({ reason: "host_lost" })), "nobody has proved it").toEqual([]);
  });

  test("a launch, or any other state, after the end", () => {
    const ended = () => new HistoryMaker().event(1, A, "vm.queued").event(100, A, "vm.removed");
    expect(messages(nothingAfterTheEnd, ended().qemu(A, 1, "h1", { pid: 70, from: 200, until: 300 }))).toHaveLength(1);
    expect(messages(nothingAfterTheEnd, ended().event(200, A, "vm.preparing"))).toEqual([
      "was removed, and became preparing after that",
    ]);
  });

  test("a failed VM may be retried by hand", () => {
    const made = new HistoryMaker()
      .event(1, A, "vm.queued")
      .event(100, A, "vm.failed")
      .event(200, A, "vm.queued", { reason: "retried_by_hand" })
      .launched(300, A, 2, "h1", 14_000)
      .qemu(A, 2, "h1", { pid: 70, from: 305 });
    expect(messages(nothingAfterTheEnd, made)).toEqual([]);
  });

  test("a client that was told of the end does not find the VM alive later", () => {
    const told = (t: number, f: "remove" | "get", state: "removed" | "running") =>
      [t, f, { op: t, force: true, state }, { type: "ok", vmId: A }] as const;
    const made = new HistoryMaker().add(...told(1_000, "remove", "removed")).add(...told(9_000, "get", "running"));
    expect(messages(nothingAfterTheEnd, made)).toEqual(["was told to be gone at 1000, and is running at 9000"]);
  });
});

describe("I13: no VM is disturbed", () => {
  const ran = (untilMs: number, run: ConstructorParameters<typeof HistoryMaker>[0] = {}, mode = "patient") =>
    new HistoryMaker(run)
      .event(1, A, "vm.queued")
      .launched(100, A, 1, "h1", 14_000)
      .qemu(A, 1, "h1", { pid: 70, from: 105, until: untilMs, mode });

  test("a QEMU that ends by nobody's wish is told", () => {
    expect(messages(noVmIsDisturbed, ran(5_000))).toHaveLength(1);
    const restarted = ran(5_000).worker(4_900, "h1", "exit", { by: "SIGTERM" }).worker(5_500, "h1", "ready");
    expect(messages(noVmIsDisturbed, restarted), "an upgrade is no reason").toHaveLength(1);
  });

  test("a QEMU that could not bind its port and gave way to the next one of its launch never ran", () => {
    const made = new HistoryMaker()
      .event(1, A, "vm.queued")
      .qemu(A, 1, "h1", { pid: 69, from: 90, until: 95 })
      .launched(100, A, 1, "h1", 14_001)
      .qemu(A, 1, "h1", { pid: 70, from: 105 });
    expect(messages(noVmIsDisturbed, made)).toEqual([]);
  });

  test("a removal, the nemesis and the guest itself are reasons", () => {
    expect(messages(noVmIsDisturbed, ran(5_000).event(4_990, A, "vm.removal_requested"))).toEqual([]);
    expect(messages(noVmIsDisturbed, ran(5_000).event(6_000, A, "vm.removal_requested")), "too late").toHaveLength(1);
    const killed = ran(5_000).add(4_990, "signal", { pid: 70, signal: "SIGKILL" }, { vmId: A });
    expect(messages(noVmIsDisturbed, killed)).toEqual([]);
    expect(messages(noVmIsDisturbed, ran(5_000, {}, "brief"))).toEqual([]);
  });

  test("a host that was silent for long enough is one under rerun, and under hold never", () => {
    const lost = (made: HistoryMaker) =>
      made.worker(2_000, "h1", "exit", { by: "SIGKILL" }).worker(9_000, "h1", "ready");
    expect(messages(noVmIsDisturbed, lost(ran(7_500)))).toEqual([]);
    expect(messages(noVmIsDisturbed, lost(ran(3_000))), "too early").toHaveLength(1);
    expect(messages(noVmIsDisturbed, lost(ran(7_500, { policy: "hold" })))).toHaveLength(1);
  });

  test("an attempt that was paid for somebody else's fault", () => {
    const data = { cause: { code: "qemu_killed" }, attempt: 1, attempts: 3 };
    const paid = goodHistory().event(6_000, B, "vm.retrying", data);
    expect(messages(noVmIsDisturbed, paid)).toHaveLength(1);
    paid.add(5_900, "signal", { pid: 71, signal: "SIGKILL" }, { vmId: B });
    expect(messages(noVmIsDisturbed, paid)).toEqual([]);
  });
});
