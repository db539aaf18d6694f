import type { FailureGroup } from "../../contract/failure-view.ts";
import { formatAge } from "./age.ts";
import type { Paint } from "./paint.ts";
import { shortIdLength } from "./short-id.ts";
import { renderTable } from "./table.ts";
import { printable, wrap } from "./text-width.ts";

export interface FailureScreen {
  readonly columns: number;
  readonly paint: Paint;
  readonly nowMs: number;
}

const COLUMNS = [
  { title: "CAUSE" },
  { title: "HOST", shrinkTo: 8 },
  { title: "FAILED", align: "right" },
  { title: "RETRYABLE", align: "right" },
  { title: "AGAIN", align: "right" },
  { title: "FIRST", align: "right" },
  { title: "LAST", align: "right" },
  { title: "EXAMPLE", optional: true },
] as const;

/** Failures by cause and host, and below them what can be done about each cause. */
export function renderFailures(groups: readonly FailureGroup[], screen: FailureScreen): readonly string[] {
  const { columns, paint, nowMs } = screen;
  const age = (time: string) => formatAge(nowMs - Date.parse(time));
  const idChars = shortIdLength(groups.flatMap(({ example }) => example?.vmId ?? []));
  const rows = groups.map((group) => [
    { text: group.cause, paint: group.failed > 0 ? paint.red : paint.yellow },
    { text: group.host },
    { text: String(group.failed) },
    { text: String(group.retryable) },
    { text: String(group.launchedAgain) },
    { text: age(group.firstAt) },
    { text: age(group.lastAt) },
    { text: group.example?.vmId.slice(0, idChars) ?? "" },
  ]);
  return [
    ...renderTable(COLUMNS, rows, columns),
    ...groups.filter(isFirstOfCause).flatMap((one) => advice(one, screen)),
  ];
}

function isFirstOfCause({ cause }: FailureGroup, index: number, all: readonly FailureGroup[]): boolean {
  return all.findIndex((group) => group.cause === cause) === index;
}

/** What a cause means and what to do; the newest message tells which file or value it was. */
function advice({ cause, means, action, example }: FailureGroup, { columns, paint }: FailureScreen): readonly string[] {
  const message = example?.message ?? null;
  const lines = [means, ...(message === null ? [] : [`Last: ${message}`]), `What to do: ${action}`];
  const indented = lines.flatMap((line) => wrap(printable(line), columns - 2)).map((line) => `  ${line}`);
  return ["", paint.bold(cause), ...indented];
}
