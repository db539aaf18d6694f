import type { BatchView } from "../../contract/batch.ts";
import { formatAge, formatSpan } from "./age.ts";
import type { Paint } from "./paint.ts";
import { type Column, renderTable } from "./table.ts";
import { displayWidth, printable, wrap } from "./text-width.ts";

export interface BatchScreen {
  readonly columns: number;
  readonly paint: Paint;
  readonly nowMs: number;
}

const COLUMNS: readonly Column[] = [
  { title: "ID" },
  { title: "STATE" },
  { title: "AGE", align: "right" },
  { title: "ENDED", align: "right" },
  { title: "FAILED", align: "right", optional: true },
  { title: "OWNER", shrinkTo: 8, optional: true },
  { title: "NAME", shrinkTo: 8, optional: true },
];
const BAR_CHARS = 20;

/** The list of batches as a table. */
export function renderBatchTable(batches: readonly BatchView[], screen: BatchScreen): readonly string[] {
  const { columns, paint, nowMs } = screen;
  const showOwner = new Set(batches.map(({ owner }) => owner)).size > 1;
  const rows = batches.map((batch) => [
    { text: batch.id },
    { text: batch.outcome ?? batch.state, paint: (text: string) => paintBatch(paint, batch, text) },
    { text: formatAge(nowMs - Date.parse(batch.createdAt)) },
    { text: `${batch.ended}/${batch.total}` },
    { text: batch.counts.failed === 0 ? "" : String(batch.counts.failed), paint: paint.red },
    { text: showOwner ? batch.owner : "" },
    { text: batch.name ?? "" },
  ]);
  return renderTable(COLUMNS, rows, columns);
}

/** One batch with everything that is known of it. */
export function renderBatch(batch: BatchView, { columns, paint, nowMs }: BatchScreen): readonly string[] {
  const head = `${paint.bold(batch.id)}  ${paintBatch(paint, batch, batch.outcome ?? batch.state)}`;
  const facts: [string, string][] = [
    ["name", batch.name ?? ""],
    ["owner", batch.owner],
    ["created", `${batch.createdAt} (${formatAge(nowMs - Date.parse(batch.createdAt))} ago)`],
    ["ended", batch.endedAt ?? ""],
    ["requests", `${batch.ended} of ${batch.total} ended${batch.rejected === 0 ? "" : `, ${batch.rejected} left out`}`],
    ["now", countsText(batch)],
    ["pace", paceText(batch, nowMs)],
    ["at once", batch.maxParallel === null ? "" : `${batch.maxParallel} at most`],
    ["stops", batch.stopAfterFailures === null ? "" : `after ${batch.stopAfterFailures} failures`],
    ["failures", failuresText(batch)],
  ];
  return [
    head,
    ...facts
      .filter(([, text]) => text !== "")
      .flatMap(([name, text]) => {
        const [first = "", ...more] = wrap(printable(text), columns - 12);
        return [`  ${paint.dim(name.padEnd(8))}  ${first}`, ...more.map((line) => `${" ".repeat(12)}${line}`)];
      }),
  ];
}

/** How it stands, in one line with a bar, cut to the screen, and where something failed a second one. */
export function renderProgress(batch: BatchView, { columns, paint, nowMs }: BatchScreen): readonly string[] {
  const filled = Math.floor((batch.ended / batch.total) * BAR_CHARS);
  const bar = `[${"#".repeat(filled)}${"-".repeat(BAR_CHARS - filled)}]`;
  const [long, short] = [progressText(batch, nowMs), shortProgress(batch, nowMs)].map((text) => `${bar} ${text}`);
  const line = displayWidth(long ?? "") < columns ? (long ?? "") : (short ?? "");
  const failures = batch.failures.length === 0 ? [] : [`failed: ${failuresText(batch)}`];
  return [cutTo(line, columns), ...failures.map((text) => paint.red(cutTo(text, columns)))];
}

/** The same without a bar, for a log. */
export function progressText(batch: BatchView, nowMs: number): string {
  const live = batch.total - batch.ended - batch.counts.listed;
  const parts = [
    `${batch.ended} of ${batch.total} ended (${percentOf(batch)} %)`,
    `${live} under way`,
    batch.counts.failed === 0 ? "" : `${batch.counts.failed} failed`,
    paceText(batch, nowMs),
  ];
  return parts.filter((part) => part !== "").join(", ");
}

/** For a narrow screen: what matters most comes first, and is cut last. */
function shortProgress(batch: BatchView, nowMs: number): string {
  const { ended, total, counts, estimatedEnd } = batch;
  const parts = [
    `${percentOf(batch)} %`,
    `${ended}/${total}`,
    counts.failed === 0 ? "" : `${counts.failed} failed`,
    estimatedEnd === null ? "" : `${formatSpan(Math.max(1000, Date.parse(estimatedEnd) - nowMs))} left`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}

function percentOf({ ended, total }: BatchView): number {
  return Math.floor((ended / total) * 100);
}

/** How it ended, as sentences. */
export function renderSummary(batch: BatchView): readonly string[] {
  const { counts, total, startedAt, endedAt } = batch;
  const ends = (["completed", "failed", "expired", "removed", "skipped"] as const)
    .filter((state) => counts[state] > 0)
    .map((state) => `${counts[state]} ${state}`);
  const tookMs = startedAt === null || endedAt === null ? undefined : Date.parse(endedAt) - Date.parse(startedAt);
  const took = tookMs === undefined ? "" : ` in ${formatSpan(tookMs)}`;
  return [
    `${total} ${total === 1 ? "request" : "requests"}${took}: ${ends.join(", ")}`,
    ...(batch.failures.length === 0 ? [] : [`failed: ${failuresText(batch)}`]),
  ];
}

function paceText({ state, perMinute, estimatedEnd }: BatchView, nowMs: number): string {
  if (state === "ended" || perMinute === null) return "";
  const rate = `${perMinute < 10 ? perMinute.toFixed(1) : Math.round(perMinute)} a minute`;
  return estimatedEnd === null
    ? rate
    : `${rate}, about ${formatSpan(Math.max(1000, Date.parse(estimatedEnd) - nowMs))} left`;
}

function countsText({ counts }: BatchView): string {
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${state}`)
    .join(", ");
}

function failuresText({ failures }: BatchView): string {
  return failures.map(({ cause, count }) => `${count} ${cause}`).join(", ");
}

function paintBatch(paint: Paint, { state, outcome }: BatchView, text: string): string {
  if (outcome === "completed") return paint.green(text);
  if (outcome === "failed") return paint.red(text);
  return outcome === null && state === "active" ? paint.cyan(text) : paint.yellow(text);
}

function cutTo(line: string, columns: number): string {
  return displayWidth(line) < columns ? line : line.slice(0, columns - 1);
}
