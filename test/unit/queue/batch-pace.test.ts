import { expect, test } from "vitest";
import { batchPace } from "../../../src/queue/batch-pace.ts";
import type { PaceSample } from "../../../src/queue/batch-record.ts";

const TOTAL = 1_000;
const STEP = TOTAL / 200;

/** Runs a batch on `places`, each VM for what `lastsMs` says; gives what Redis has of it when so many had ended. */
function runUntil(ended: number, { places, lastsMs }: { places: number; lastsMs: (index: number) => number }) {
  const free = Array.from({ length: places }, () => 0);
  const ends: number[] = [];
  for (let index = 0; index < TOTAL; index++) {
    const place = free.indexOf(Math.min(...free));
    const end = (free[place] ?? 0) + lastsMs(index);
    free[place] = end;
    ends.push(end);
  }
  ends.sort((a, b) => a - b);
  const pace: PaceSample[] = [{ atMs: 0, ended: 0 }];
  for (let count = STEP; count <= ended; count += STEP) pace.push({ atMs: ends[count - 1] ?? 0, ended: count });
  const batch = { state: "active" as const, total: TOTAL, ended, live: Math.min(places, TOTAL - ended), pace };
  return { batch, nowMs: ends[ended - 1] ?? 0, nextMs: ends[ended] ?? 0, endMs: ends.at(-1) ?? 0 };
}

const noise = (index: number) => ((index * 2_654_435_761) % 1_000) / 1_000;
const FLEETS = [
  { name: "one place", places: 1, lastsMs: () => 1_000 },
  { name: "waves of a hundred", places: 100, lastsMs: () => 60_000 },
  { name: "waves that drift apart", places: 50, lastsMs: (index: number) => 50_000 + 20_000 * noise(index) },
  {
    name: "some that take ten times as long",
    places: 20,
    lastsMs: (index: number) => (index % 17 === 0 ? 10_000 : 1_000),
  },
];

test.each(FLEETS)("after a fifth of a batch on $name its end is known within 30 %", (fleet) => {
  for (const ended of [200, 300, 450, 605, 900]) {
    const { batch, nowMs, nextMs, endMs } = runUntil(ended, fleet);
    // Right after an end, and right before the next one.
    for (const atMs of [nowMs, Math.max(nowMs, nextMs - 1)]) {
      const { estimatedEndMs = 0, perMinute = 0 } = batchPace(batch, atMs);
      expect(estimatedEndMs / endMs, `after ${ended}`).toBeGreaterThan(0.7);
      expect(estimatedEndMs / endMs, `after ${ended}`).toBeLessThan(1.3);
      expect(perMinute).toBeGreaterThan(0);
    }
  }
});

test("nothing is said before the first end, nor after the last; a batch that stands still moves its end away", () => {
  const { batch, nowMs, endMs } = runUntil(200, { places: 10, lastsMs: () => 1_000 });
  const unknown = { perMinute: undefined, estimatedEndMs: undefined };
  expect(batchPace({ ...batch, ended: 0, pace: [] }, nowMs)).toEqual(unknown);
  expect(batchPace({ ...batch, ended: 0, pace: [{ atMs: 0, ended: 0 }] }, nowMs)).toEqual(unknown);
  expect(batchPace({ ...batch, state: "ended" }, nowMs)).toEqual(unknown);
  const later = batchPace(batch, nowMs * 10);
  expect(later.estimatedEndMs).toBeGreaterThan(endMs * 3);
});

test("a batch whose failed VMs are retried counts its pace from then on", () => {
  const pace = [
    { atMs: 1_000_000, ended: 900 },
    { atMs: 1_010_000, ended: 910 },
  ];
  const { perMinute, estimatedEndMs } = batchPace(
    { state: "active", total: 1_000, ended: 910, live: 0, pace },
    1_010_000,
  );
  expect(perMinute).toBeCloseTo(60);
  expect(estimatedEndMs).toBe(1_100_000);
});
