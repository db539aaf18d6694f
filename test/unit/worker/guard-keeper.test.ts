import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import type { Config } from "../../../src/runtime/config-shape.ts";
import { bootId } from "../../../src/runtime/process-identity.ts";
import { findGuards } from "../../../src/worker/guard/guard-identity.ts";
import { guardMarginMs } from "../../../src/worker/guard/guard-link.ts";
import { readOrder } from "../../../src/worker/guard/guard-order.ts";
import { endGuards } from "../../../src/worker/guard/start-guard.ts";
import { uptimeMs } from "../../../src/worker/guard/uptime.ts";
import { GuardKeeper } from "../../../src/worker/guard-keeper.ts";

const AFTER_MS = 60_000;
const RERUN = { policy: "rerun", afterMs: AFTER_MS, onPartition: "keep", awayMaxMs: 3_600_000 } as const;

/** A state directory without VMs, and a guard for it. */
async function openKeeper(policy: Config["hostLost"]) {
  const stateDir = await mkdtemp(join(tmpdir(), "drg-"));
  const host = { stateDir, stateId: randomUUID(), bootId: bootId() };
  onTestFinished(async () => {
    await endGuards(host.stateId);
    await rm(stateDir, { recursive: true, force: true });
  });
  const logger = pino({ level: "silent" });
  const keeper = await GuardKeeper.open({ host, policy, logger, onLate: () => undefined });
  const deadline = async () => (await readOrder(stateDir))?.deadlineUptimeMs ?? undefined;
  return { host, keeper, deadline };
}

test("the guard acts a good while before others may: a quarter of their patience, 30 s at most", () => {
  expect([3_000, 60_000, 300_000, 3_600_000].map(guardMarginMs)).toEqual([750, 15_000, 30_000, 30_000]);
});

test("the deadline counts from when the renewal was sent, and stands before others may launch the VMs", async () => {
  const { keeper, deadline } = await openKeeper(RERUN);
  const first = (await deadline()) ?? 0;
  expect(first - uptimeMs()).toBeLessThanOrEqual(AFTER_MS * 0.75);
  expect(first - uptimeMs()).toBeGreaterThan(AFTER_MS * 0.75 - 10_000);
  expect(keeper.isInTime).toBe(true);
  const since = uptimeMs() - 20;
  await keeper.noteRenewal(20);
  expect(Math.abs(((await deadline()) ?? 0) - (since + AFTER_MS * 0.75))).toBeLessThan(1_000);
});

test.each([
  ["keep", true],
  ["stop", false],
] as const)(
  "with `%s`, a loop that turns moves the deadline while no lease can be renewed: %s",
  async (onPartition, moves) => {
    const { keeper, deadline } = await openKeeper({ ...RERUN, onPartition });
    const first = (await deadline()) ?? 0;
    await expect.poll(() => uptimeMs() > first - AFTER_MS * 0.75 + 30, { timeout: 5_000 }).toBe(true);
    await keeper.noteTurn();
    expect(((await deadline()) ?? 0) > first).toBe(moves);
  },
);

test("a worker that leaves its VMs gives the guard the time that it said it may be away", async () => {
  const { keeper, deadline } = await openKeeper(RERUN);
  const since = uptimeMs();
  await keeper.leave(since);
  expect(await deadline()).toBe(since + RERUN.awayMaxMs - guardMarginMs(RERUN.awayMaxMs));
});

test("under `hold` there is no guard, and nothing is ever too late", async () => {
  const { host, keeper, deadline } = await openKeeper({ ...RERUN, policy: "hold" });
  await keeper.noteRenewal(0);
  expect([findGuards(host.stateId), await deadline(), keeper.isInTime]).toEqual([[], undefined, true]);
});
