import { Writable } from "node:stream";
import { pino } from "pino";
import { afterEach, expect, test, vi } from "vitest";
import { FailPoints } from "../../../src/worker/fail-points.ts";

afterEach(() => void vi.restoreAllMocks());

function openPoints(spec: string) {
  const lines: string[] = [];
  const write = (chunk: Buffer, _encoding: string, done: () => void) => {
    lines.push(chunk.toString());
    done();
  };
  return { points: new FailPoints(spec, pino(new Writable({ write }))), lines };
}

test("without the variable every point is passed and nothing is said", async () => {
  const { points, lines } = openPoints("");
  await points.reach("L1-fetched", undefined);
  await points.reach("L12e-settled", "name");
  expect(lines).toEqual([]);
});

test("a point that is set says so at once, acts at its place only, and each time", async () => {
  const { points, lines } = openPoints("L3-intent:throw");
  expect(lines.join("")).toContain("for tests only");
  await points.reach("L2-directory", undefined);
  for (let i = 0; i < 3; i++) await expect(points.reach("L3-intent", "any")).rejects.toThrow("fail point L3-intent");
});

test("a name keeps it to one VM, a number to one time, and several are independent", async () => {
  const { points } = openPoints("L3-intent@mine:throw:2,L4-port:throw:1");
  await points.reach("L3-intent", "other");
  await points.reach("L3-intent", undefined);
  await points.reach("L3-intent", "mine");
  await expect(points.reach("L3-intent", "mine")).rejects.toThrow();
  await points.reach("L3-intent", "mine");
  await expect(points.reach("L4-port", undefined)).rejects.toThrow();
  await points.reach("L4-port", undefined);
});

test.each([
  ["L3-intend:throw", "a point that does not exist"],
  ["L3-intent:explode", "an action that does not exist"],
  ["L3-intent", "no action"],
  ["L3-intent:throw:often", "no number"],
  ["L3-intent:throw,", "an empty place"],
])("%s is refused: %s", (spec) => {
  expect(() => openPoints(spec)).toThrow(/DROVER_FAILPOINT: .* is not point/);
});

test("what holds is let go by a release, and holds nobody after it", async () => {
  const { points } = openPoints("L9-answering:hold,L10-running:pause");
  const held = points.reach("L9-answering", undefined);
  let isHeld = true;
  void held.then(() => {
    isHeld = false;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(isHeld).toBe(true);
  points.release();
  await held;
  const startedMs = performance.now();
  await points.reach("L9-answering", undefined);
  await points.reach("L10-running", undefined);
  expect(performance.now() - startedMs).toBeLessThan(500);
});

test.each([
  ["kill", "SIGKILL"],
  ["stop", "SIGSTOP"],
] as const)("%s sends this process %s and nobody else anything", async (action, signal) => {
  const kill = vi.spyOn(process, "kill").mockReturnValue(true);
  const { points } = openPoints(`L7-spawned:${action}`);
  points.release(); // what follows a kill is a wait for the signal
  await points.reach("L7-spawned", undefined);
  expect(kill.mock.calls).toEqual([[process.pid, signal]]);
});
