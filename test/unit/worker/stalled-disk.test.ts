import { pino } from "pino";
import { expect, test } from "vitest";
import type { LaunchFailure } from "../../../src/contract/causes.ts";
import { StalledDisk } from "../../../src/worker/stalled-disk.ts";
import { FakeClock } from "../../helpers/fake-clock.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const PATIENCE_MS = 15 * 60_000;
const PAUSED = { kind: "paused", status: "io-error" } as const;

/** A guest whose disk is full, or not any more; `resumes` says when it was told to go on. */
function openStalled() {
  const clock = new FakeClock();
  const stalled = new StalledDisk({ clock, logger: pino({ level: "silent" }), vmId: "vm" });
  const over = new AbortController();
  const resumes: number[] = [];
  const guest = { goesOn: false, answers: true, pausesAgain: false };
  const startMs = clock.monotonicMs();
  const qemu = {
    async resume() {
      resumes.push(clock.monotonicMs() - startMs);
      if (!guest.answers) throw new Error("no answer");
      if (guest.pausesAgain) stalled.note(PAUSED);
      return guest.goesOn;
    },
  };
  let failure: LaunchFailure | undefined;
  const watched = stalled.watch(qemu, over.signal);
  void watched.then((found) => {
    failure = found;
  });
  /** Time passes as long as somebody waits for it. */
  const pass = async (ms: number) => {
    for (let left = ms; left > 0 && failure === undefined; left -= 5_000) {
      await waitFor(() => clock.sleepers > 0 || failure !== undefined, { what: "it to wait" });
      clock.advance(5_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { clock, stalled, over, resumes, guest, pass, watched, failure: () => failure };
}

test("a guest that stands still is told to go on, at first soon and then once a minute, and fails after a quarter of an hour", async () => {
  const { stalled, resumes, pass, watched, clock } = openStalled();
  expect(clock.sleepers, "nothing turns before it stands still").toBe(0);
  stalled.note(PAUSED);
  await pass(PATIENCE_MS + 60_000);
  expect((await watched).failure).toMatchObject({ code: "disk_full" });
  expect(resumes.slice(0, 5)).toEqual([0, 5_000, 15_000, 35_000, 75_000]);
  expect(resumes.length, "a minute between two").toBeLessThan(25);
});

test("a guest that goes on when there is room has lost nothing but time; the next time counts anew", async () => {
  const { stalled, guest, pass, failure, resumes, clock, watched } = openStalled();
  stalled.note(PAUSED);
  await pass(10 * 60_000);
  guest.goesOn = true;
  await pass(120_000).catch(() => undefined); // nobody waits any more once it goes on
  expect(clock.sleepers).toBe(0);
  const before = resumes.length;
  guest.goesOn = false;
  stalled.note(PAUSED);
  await pass(10 * 60_000);
  expect(resumes.length).toBeGreaterThan(before);
  expect(failure(), "ten minutes and ten minutes are not twenty").toBeUndefined();
  await pass(PATIENCE_MS);
  expect((await watched).failure.code).toBe("disk_full");
});

test("one that says that it goes on and stands still again in the same moment does not go on", async () => {
  const { stalled, guest, pass, watched } = openStalled();
  guest.goesOn = true;
  guest.pausesAgain = true;
  stalled.note(PAUSED);
  await pass(PATIENCE_MS + 60_000);
  expect((await watched).failure.code).toBe("disk_full");
});

test("a QEMU that does not answer is asked again", async () => {
  const { stalled, guest, pass, resumes, failure } = openStalled();
  guest.answers = false;
  stalled.note(PAUSED);
  await pass(60_000);
  expect(resumes.length).toBeGreaterThan(2);
  expect(failure()).toBeUndefined();
});

test.each([{ kind: "paused", status: "paused" }, { kind: "guest-rebooted" }] as const)(
  "what has nothing to do with a disk is passed over: %o",
  async (seen) => {
    const { stalled, resumes, clock } = openStalled();
    stalled.note(seen);
    await new Promise((resolve) => setImmediate(resolve));
    expect([resumes, clock.sleepers]).toEqual([[], 0]);
  },
);

test("once the VM is over nothing is asked any more, and nobody hears of it", async () => {
  const { stalled, over, clock, resumes, failure } = openStalled();
  stalled.note(PAUSED);
  await waitFor(() => clock.sleepers === 1, { what: "it to wait" });
  over.abort();
  await waitFor(() => clock.sleepers === 0, { what: "the wait to end" });
  stalled.note(PAUSED);
  await new Promise((resolve) => setImmediate(resolve));
  expect(resumes).toHaveLength(1);
  expect(failure()).toBeUndefined();
});
