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
import { waitFor } from "../../helpers/wait-for.ts";

const AFTER_MS = 60_000;
/** What the guard waits of it. */
const PATIENCE_MS = AFTER_MS * 0.75;
const RENEW_MS = 300;
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
  const keeper = await GuardKeeper.open({ host, policy, renewMs: RENEW_MS, logger, onLate: () => undefined });
  const deadline = async () => (await readOrder(stateDir))?.deadlineUptimeMs ?? undefined;
  return { host, keeper, deadline };
}

test("the guard acts a good while before others may: a quarter of their patience, 30 s at most", () => {
  expect([3_000, 60_000, 300_000, 3_600_000].map(guardMarginMs)).toEqual([750, 15_000, 30_000, 30_000]);
});

test("the deadline counts from when the renewal was sent, and stands before others may launch the VMs", async () => {
  const { keeper, deadline } = await openKeeper(RERUN);
  const first = (await deadline()) ?? 0;
  expect(first - uptimeMs()).toBeLessThanOrEqual(PATIENCE_MS);
  expect(first - uptimeMs()).toBeGreaterThan(PATIENCE_MS - 10_000);
  expect(keeper.isInTime).toBe(true);
  const since = uptimeMs() - 20;
  await keeper.noteRenewal(20);
  expect(Math.abs(((await deadline()) ?? 0) - (since + PATIENCE_MS))).toBeLessThan(1_000);
});

/** Redis has answered the last renewal a while ago. */
async function cutOff({ deadline }: Awaited<ReturnType<typeof openKeeper>>): Promise<number> {
  const first = (await deadline()) ?? 0;
  const until = first - PATIENCE_MS + 4 * RENEW_MS;
  await waitFor(() => uptimeMs() > until, { what: "some renewals to be missed" });
  return first;
}

test.each([
  ["keep", true],
  ["stop", false],
] as const)(
  "with `%s`, a loop that turns moves the deadline while no lease can be renewed: %s",
  async (onPartition, moves) => {
    const opened = await openKeeper({ ...RERUN, onPartition });
    const first = await cutOff(opened);
    await opened.keeper.noteTurn();
    expect(((await opened.deadline()) ?? 0) > first).toBe(moves);
  },
);

test("a turn gives the VMs no longer than the renewal before it: from that one others count", async () => {
  const opened = await openKeeper(RERUN);
  await cutOff(opened);
  await opened.keeper.noteTurn();
  expect(await opened.deadline()).toBeLessThanOrEqual(uptimeMs() - RENEW_MS + PATIENCE_MS);
});

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
