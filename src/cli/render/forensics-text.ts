import type { ForensicsView } from "../../contract/forensics.ts";
import { formatSpan } from "./age.ts";
import { consoleLines } from "./console-text.ts";
import type { Paint } from "./paint.ts";
import { renderTable } from "./table.ts";
import { printable, wrap } from "./text-width.ts";

export interface ForensicsScreen {
  readonly columns: number;
  readonly paint: Paint;
}

const DIGEST_CHARS = 16;
const TAIL_LINES = 12;
const LABEL_CHARS = 10;

/** What is kept of failed launches, for people. `latestOnly`: of the last one, without its tails, which stand elsewhere. */
export function renderForensics(
  launches: readonly ForensicsView[],
  { latestOnly, ...screen }: ForensicsScreen & { readonly latestOnly: boolean },
): readonly string[] {
  const shown = latestOnly ? launches.slice(-1) : launches;
  return shown.flatMap((launch) => [
    "",
    screen.paint.bold(`Launch ${launch.epoch} on ${printable(launch.host)} failed: ${launch.cause.code}`),
    ...facts(launch, screen),
    ...(latestOnly ? [] : details(launch, screen)),
    ...files(launch, screen),
  ]);
}

function facts(launch: ForensicsView, screen: ForensicsScreen): readonly string[] {
  const took = formatSpan(Date.parse(launch.endedAt) - Date.parse(launch.startedAt));
  const port = launch.port === null ? "" : `, port ${launch.port}`;
  const lastEvent = launch.qmpEvents.at(-1);
  return [
    ...fact("At", `${clock(launch.startedAt)}, for ${took}${port}`, screen),
    ...fact("Exit", exitText(launch.exit), screen),
    ...fact("QMP", lastEvent === undefined ? undefined : eventText(lastEvent), screen),
    ...fact("QEMU", launch.qemuVersion ?? undefined, screen),
  ];
}

function details(launch: ForensicsView, screen: ForensicsScreen): readonly string[] {
  return [
    ...fact("Cause", launch.cause.message, screen),
    ...launch.qmpEvents.slice(0, -1).flatMap((event) => fact("Before", eventText(event), screen)),
    ...fact("Command", launch.command ?? undefined, screen),
    ...tail("Console", launch.consoleTail, screen),
    ...tail("Its output", launch.qemuTail, screen),
  ];
}

function files({ files: found }: ForensicsView, screen: ForensicsScreen): readonly string[] {
  if (found === null || found.length === 0) return [];
  const rows = found.map(({ role, path, bytes, modifiedAt, sha256, problem }) => [
    { text: role },
    { text: path },
    { text: bytes === null ? "" : String(bytes) },
    { text: modifiedAt === null ? "" : clock(modifiedAt) },
    { text: sha256?.slice(0, DIGEST_CHARS) ?? problem ?? "" },
  ]);
  const columns = [
    { title: "FILE" },
    { title: "PATH", shrinkTo: 12 },
    { title: "BYTES", align: "right", optional: true },
    { title: "CHANGED", shrinkTo: 10, optional: true },
    { title: "SHA-256", shrinkTo: DIGEST_CHARS },
  ] as const;
  return renderTable(columns, rows, screen.columns - 2).map((line) => `  ${line}`);
}

function exitText(exit: ForensicsView["exit"]): string | undefined {
  if (exit === null) return undefined;
  if (exit.signal !== null) return `ended by ${exit.signal}`;
  return exit.exitCode === null ? undefined : `exit code ${exit.exitCode}`;
}

function eventText({ name, data }: ForensicsView["qmpEvents"][number]): string {
  return data === "{}" ? name : `${name} ${data}`;
}

function tail(label: string, text: string, screen: ForensicsScreen): readonly string[] {
  const lines = consoleLines(text).slice(-TAIL_LINES);
  return lines.flatMap((line, index) => fact(index === 0 ? label : "", line, screen));
}

function clock(time: string): string {
  return time.replace("T", " ").replace(/\.\d+Z$/, "Z");
}

function fact(label: string, value: string | undefined, { columns, paint }: ForensicsScreen): readonly string[] {
  if (value === undefined || value === "") return [];
  const indent = LABEL_CHARS + 2;
  const [first = "", ...more] = wrap(printable(value), columns - indent);
  return [`  ${paint.dim(label.padEnd(LABEL_CHARS))}${first}`, ...more.map((line) => `${" ".repeat(indent)}${line}`)];
}
