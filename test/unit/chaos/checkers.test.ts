import { describe, expect, test } from "vitest";
import { checkAll } from "../../chaos/checkers/all.ts";
import { acceptedHasAFate } from "../../chaos/checkers/i01-accepted-has-a-fate.ts";
import { noGhost } from "../../chaos/checkers/i02-no-ghost.ts";
import { exactlyTheLiveSet } from "../../chaos/checkers/i05-exactly-the-live-set.ts";
import { withinTheSlots } from "../../chaos/checkers/i08-within-the-slots.ts";
import { secretsStayInside } from "../../chaos/checkers/i09-secrets-stay-inside.ts";
import { retriesAreBounded } from "../../chaos/checkers/i10-retries-are-bounded.ts";
import { settlesInTime } from "../../chaos/checkers/i11-settles-in-time.ts";
import { fatesAddUp } from "../../chaos/checkers/i12-fates-add-up.ts";
import type { Checker } from "../../chaos/history.ts";
import { A, B, goodHistory, HistoryMaker } from "./history-maker.ts";

const messages = (check: Checker, made: HistoryMaker) => check(made.history).map(({ message }) => message);

test("a history without a fault passes every checker", () => {
  expect(checkAll(goodHistory().history)).toEqual([]);
});

test("a history without its settings is no history", () => {
  expect(() => checkAll([])).toThrow("settings");
});

describe("I1: whatever was accepted has a fate", () => {
  test("a VM of which nobody has heard since is lost", () => {
    expect(messages(acceptedHasAFate, goodHistory().submit(300, B, "b"))).toEqual([
      "was accepted, and nobody has heard of it since",
    ]);
  });

  test("a VM whose record is gone is lost as well", () => {
    const made = goodHistory().submit(300, B, "b").event(301, B, "vm.queued");
    expect(messages(acceptedHasAFate, made)).toEqual(["was accepted, and has no record any more"]);
  });

  test("nobody ends twice, except by a retry by hand in between", () => {
    const failing = () => new HistoryMaker().submit(1, A, "a").event(2, A, "vm.queued").event(3, A, "vm.failed");
    expect(messages(acceptedHasAFate, failing().event(4, A, "vm.removed").record(A, "removed"))).toEqual([
      "has ended 2 times: failed, removed",
    ]);
    const retried = failing().event(4, A, "vm.queued").event(5, A, "vm.removed").record(A, "removed");
    expect(messages(acceptedHasAFate, retried)).toEqual([]);
  });

  test("an end of which no event tells is none", () => {
    const made = new HistoryMaker().submit(1, A, "a").event(2, A, "vm.queued").record(A, "completed");
    expect(messages(acceptedHasAFate, made)).toEqual(["is completed, and no event says so"]);
  });

  test("what waits or runs at the end has its fate before it; what Redis lost is not promised", () => {
    const waits = new HistoryMaker().submit(1, A, "a").event(2, A, "vm.queued").record(A, "queued");
    expect(messages(acceptedHasAFate, waits)).toEqual([]);
    expect(messages(acceptedHasAFate, new HistoryMaker({ dataLoss: true }).submit(1, A, "a"))).toEqual([]);
  });
});

describe("I2: no ghost", () => {
  test("a process, a record or an event without a request is one", () => {
    expect(messages(noGhost, goodHistory().qemu(B, 1, "h1", { pid: 71, from: 300, until: 400 }))).toHaveLength(1);
    expect(messages(noGhost, goodHistory().record(B, "queued", { key: "b" }))).toHaveLength(1);
    expect(messages(noGhost, goodHistory().event(300, B, "vm.queued"))).toHaveLength(1);
  });

  test("a request that was refused must not start anything; one whose answer was lost may", () => {
    const ghost = (outcome: "fail" | "info" | "invoke") =>
      goodHistory().submit(300, B, "b", outcome).event(310, B, "vm.queued").record(B, "queued", { key: "b" });
    expect(messages(noGhost, ghost("fail"))).toHaveLength(1);
    expect(messages(noGhost, ghost("info"))).toEqual([]);
    expect(messages(noGhost, ghost("invoke"))).toEqual([]);
  });
});

describe("I5: exactly the live set", () => {
  test("whatever is left or missing at rest is told", () => {
    const problems = [{ kind: "port", text: "port 14000 is held by nobody" }] as const;
    expect(messages(exactlyTheLiveSet, goodHistory().add(83_000, "scan", { when: "empty", problems }))).toEqual([
      "port (empty): port 14000 is held by nobody",
    ]);
  });

  test("a run in which nobody looked has not passed", () => {
    expect(messages(exactlyTheLiveSet, new HistoryMaker())).toHaveLength(2);
  });
});

describe("I8: within the slots", () => {
  const two = () =>
    new HistoryMaker()
      .worker(1, "h1", "start", { maxVms: 2 })
      .qemu(A, 1, "h1", { pid: 70, from: 100 })
      .qemu(B, 1, "h1", { pid: 71, from: 200 });
  const C = "cccccccc-0000-4000-8000-000000000003";

  test("a launch beyond the bound is told, on that host only", () => {
    expect(messages(withinTheSlots, two())).toEqual([]);
    expect(messages(withinTheSlots, two().qemu(C, 1, "h1", { pid: 72, from: 300 }))).toHaveLength(1);
    expect(messages(withinTheSlots, two().qemu(C, 1, "h2", { pid: 72, from: 300 }))).toEqual([]);
  });

  test("a slot is free when its QEMU is gone", () => {
    const made = new HistoryMaker()
      .worker(1, "h1", "start", { maxVms: 1 })
      .qemu(A, 1, "h1", { pid: 70, from: 100, until: 150 })
      .qemu(B, 1, "h1", { pid: 71, from: 200 });
    expect(messages(withinTheSlots, made)).toEqual([]);
  });

  test("a lowered bound ends nobody and lets nobody in", () => {
    const lowered = two().worker(250, "h1", "start", { maxVms: 1 });
    expect(messages(withinTheSlots, lowered)).toEqual([]);
    expect(messages(withinTheSlots, lowered.qemu(C, 1, "h1", { pid: 72, from: 300 }))).toHaveLength(1);
  });
});

describe("I9: secrets stay inside", () => {
  test("a secret outside of the VM's own directory is told, and a file that others may read", () => {
    const made = goodHistory()
      .add(1, "canary", { place: "Redis", fields: ["agentCertsToken"], allowed: false })
      .add(2, "canary", { place: "vms/a/1/env/environment", fields: ["agentCertsToken"], allowed: true })
      .add(3, "mode", { path: "vms/a/1/env/environment", mode: 0o600 })
      .add(4, "mode", { path: "vms/a/1/record.json", mode: 0o640 });
    expect(messages(secretsStayInside, made)).toEqual([
      "agentCertsToken stands in Redis",
      "vms/a/1/record.json has mode 640",
    ]);
  });
});

describe("I10: retries are bounded", () => {
  const launchedOnce = () =>
    new HistoryMaker().submit(1, A, "a").event(2, A, "vm.queued").launched(100, A, 1, "h1", 14_000);

  test("one key is one VM", () => {
    expect(messages(retriesAreBounded, goodHistory().submit(300, B, "a"))[0]).toContain("key a has 2 VMs");
    expect(messages(retriesAreBounded, goodHistory().submit(300, A, "a"))).toEqual([]);
  });

  test("a delay is kept", () => {
    const retrying = () =>
      launchedOnce().event(1_000, A, "vm.retrying", { attempt: 1, attempts: 3, delayMs: 500, epoch: 1 });
    expect(messages(retriesAreBounded, retrying().launched(1_100, A, 2, "h1", 14_000))).toEqual([
      "was launched 400 ms before its delay was over",
    ]);
    expect(messages(retriesAreBounded, retrying().launched(1_510, A, 2, "h1", 14_000))).toEqual([]);
  });

  test("attempts are counted one by one and end", () => {
    const jump = launchedOnce().event(1_000, A, "vm.retrying", { attempt: 2, attempts: 3, delayMs: 0 });
    expect(messages(retriesAreBounded, jump)).toEqual(["used attempt 2 after 0"]);
    const beyond = launchedOnce().event(1_000, A, "vm.retrying", { attempt: 1, attempts: 1, delayMs: 0 });
    expect(messages(retriesAreBounded, beyond)).toEqual(["is retried after attempt 1 of 1"]);
  });

  test("launches without end are told, though they use no attempt", () => {
    const made = launchedOnce();
    for (let epoch = 2; epoch < 30; epoch++)
      made
        .event(epoch * 100, A, "vm.queued", { reason: "requeued" })
        .launched(epoch * 100 + 20, A, epoch, "h1", 14_000);
    expect(messages(retriesAreBounded, made)).toEqual(["was launched 29 times"]);
  });
});

describe("I11: comes to rest in time", () => {
  test("what is open at the end is told, and a rest that came late, or never", () => {
    expect(messages(settlesInTime, new HistoryMaker())).toEqual(["the run never came to rest"]);
    const late = new HistoryMaker().add(1, "settled", { tookMs: 31_000, open: ["a is queued"] });
    expect(messages(settlesInTime, late)).toHaveLength(2);
  });

  test("a worker that does not go when it is asked to", () => {
    const slow = goodHistory().worker(700, "h1", "exit", { by: "SIGTERM", tookMs: 12_000 });
    expect(messages(settlesInTime, slow)).toEqual(["the worker of h1 took 12000 ms to end after SIGTERM"]);
    expect(messages(settlesInTime, goodHistory().worker(700, "h1", "exit", { by: "SIGTERM", tookMs: 900 }))).toEqual(
      [],
    );
  });
});

describe("I12: the fates add up", () => {
  test("there are as many VMs as were accepted, give or take those of lost answers", () => {
    expect(messages(fatesAddUp, goodHistory().submit(300, B, "b"))).toHaveLength(1);
    expect(messages(fatesAddUp, goodHistory().record(B, "queued", { key: "b" }))).toHaveLength(1);
    expect(messages(fatesAddUp, goodHistory().submit(300, B, "b", "info"))).toEqual([]);
    expect(messages(fatesAddUp, goodHistory().submit(300, B, "b", "info").record(B, "queued", { key: "b" }))).toEqual(
      [],
    );
    expect(
      messages(fatesAddUp, goodHistory().submit(300, B, "b", "fail").record(B, "queued", { key: "b" })),
    ).toHaveLength(1);
  });
});
