import { expect, test } from "vitest";
import { exitCodeOfBatch, waitForBatch } from "../../../src/cli/batch-wait.ts";
import { CliError } from "../../../src/cli/cli-error.ts";
import type { BatchClient } from "../../../src/cli/client/batch-client.ts";
import { EXIT } from "../../../src/cli/exit-codes.ts";
import { renderBatch, renderProgress } from "../../../src/cli/render/batch-text.ts";
import { createPaint } from "../../../src/cli/render/paint.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";
import { BatchView } from "../../../src/contract/batch.ts";
import { VM_STATES } from "../../../src/contract/vm-state.ts";

const NOW_MS = Date.UTC(2026, 10, 23, 19, 2, 0);
const NONE = Object.fromEntries(["listed", "skipped", ...VM_STATES].map((state) => [state, 0]));

function batch(changes: Partial<Record<keyof BatchView, unknown>> = {}): BatchView {
  return BatchView.parse({
    id: "c0de-8abc-89ab-0123456789ab",
    name: null,
    owner: "local",
    state: "active",
    outcome: null,
    total: 1_000,
    ended: 340,
    counts: { ...NONE, listed: 600, running: 60, completed: 330, failed: 10 },
    failures: [
      { cause: "boot_timeout", count: 7 },
      { cause: "guest_panic", count: 3 },
    ],
    maxParallel: null,
    stopAfterFailures: null,
    rejected: 0,
    perMinute: 45.2,
    estimatedEnd: new Date(NOW_MS + 14 * 60_000).toISOString(),
    createdAt: new Date(NOW_MS - 60_000).toISOString(),
    startedAt: new Date(NOW_MS - 60_000).toISOString(),
    endedAt: null,
    ...changes,
  });
}

test("progress is a bar with counts, rate, time left and failures by cause, within the screen", () => {
  const screen = { columns: 120, paint: createPaint(false), nowMs: NOW_MS };
  expect(renderProgress(batch(), screen)).toEqual([
    "[######--------------] 340 of 1000 ended (34 %), 60 under way, 10 failed, 45 a minute, about 14m 0s left",
    "failed: 7 boot_timeout, 3 guest_panic",
  ]);
  const [narrow = ""] = renderProgress(batch(), { ...screen, columns: 60 });
  expect(narrow).toMatch(/^\[#{6}-{14}\] 34 %/);
  for (const columns of [40, 60, 80]) {
    for (const line of renderProgress(batch(), { ...screen, columns })) expect(line.length).toBeLessThan(columns);
    for (const line of renderBatch(batch(), { ...screen, columns })) expect(line.length).toBeLessThanOrEqual(columns);
  }
});

test("on a screen the bar is drawn over itself, and an API that is away for a moment is waited for", async () => {
  const answers = [
    batch({ failures: [] }),
    new Error("away"),
    batch({ state: "ended", outcome: "failed", ended: 1_000 }),
  ];
  let drawn = "";
  const terminal = {
    err: (text: string) => {
      drawn += text;
    },
    columns: 80,
    errIsScreen: true,
    errPaint: createPaint(false),
  } satisfies Partial<Terminal>;
  const batches: Pick<BatchClient, "get"> = {
    get: async () => {
      const answer = answers.shift();
      if (answer instanceof Error) throw new CliError("away", { exitCode: EXIT.unreachable });
      return answer ?? batch();
    },
  };
  const ended = await waitForBatch(
    { batches, id: "x", quiet: false, signal: new AbortController().signal, everyMs: 1 },
    { terminal, now: () => NOW_MS },
  );
  expect(ended.outcome).toBe("failed");
  expect(drawn.split("\u001b[J").map((part) => part.split("\n").length - 1)).toEqual([0, 1, 2]);
  expect(drawn).toContain("\u001b[1A\u001b[J");
});

test.each([
  ["completed", {}, 0],
  ["failed", { failed: 1 }, 1],
  ["failed", { expired: 1 }, 6],
  ["cancelled", { removed: 5 }, 6],
  ["stopped", { failed: 3, skipped: 2 }, 1],
] as const)("a batch that is %s with %o ends with %i", (outcome, counts, exitCode) => {
  expect(exitCodeOfBatch(batch({ state: "ended", outcome, counts: { ...NONE, ...counts } }))).toBe(exitCode);
});
