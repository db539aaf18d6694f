import { isFinal } from "../../contract/vm-state.ts";
import type { VmDetail, VmView } from "../../contract/vm-view.ts";
import { formatAge, formatSpan } from "./age.ts";
import { consoleLines } from "./console-text.ts";
import { renderForensics } from "./forensics-text.ts";
import { type Paint, paintState } from "./paint.ts";
import { renderTable } from "./table.ts";
import { printable, wrap } from "./text-width.ts";
import { hostAndPort } from "./vm-table.ts";

export interface DetailScreen {
  readonly columns: number;
  readonly paint: Paint;
  readonly nowMs: number;
}

const LABEL_CHARS = 10;
const TAIL_LINES = 12;
const RESULT_LINES = 20;

/** Everything that is known of one VM, for people. */
export function renderVmDetail(vm: VmDetail, screen: DetailScreen): readonly string[] {
  const { paint } = screen;
  return [
    `${paint.bold(vm.id)}  ${paintState(paint, vm.state)}`,
    ...facts(vm, screen),
    ...cause(vm, screen),
    ...result(vm, screen),
    ...launches(vm, screen),
    ...renderForensics(vm.state === "failed" ? (vm.forensics ?? []) : [], { ...screen, latestOnly: true }),
    ...tail("Console", vm.tail?.console ?? "", screen),
    ...tail("QEMU", vm.tail?.qemu ?? "", screen),
    ...(vm.command === null ? [] : ["", paint.dim(`The QEMU command: drover get ${vm.id.slice(0, 8)} --command`)]),
    ...(vm.forensics === null ? [] : [paint.dim(`All failed launches: drover get ${vm.id.slice(0, 8)} --forensics`)]),
  ];
}

function facts(vm: VmView, screen: DetailScreen): readonly string[] {
  const { spec } = vm;
  const ago = (time: string) => `${formatAge(screen.nowMs - Date.parse(time))} ago`;
  const inFuture = (time: string) => formatSpan(Date.parse(time) - screen.nowMs);
  const started = vm.runningAt === null ? undefined : Date.parse(vm.runningAt);
  return [
    ...fact("Name", spec.name, screen),
    ...fact(
      "Labels",
      spec.labels &&
        Object.entries(spec.labels)
          .map(([name, value]) => `${name}=${value}`)
          .join(", "),
      screen,
    ),
    ...fact("Since", `${ago(vm.stateSince)} (${clock(vm.stateSince)}), created ${ago(vm.createdAt)}`, screen),
    ...fact("Address", vm.address === null ? undefined : hostAndPort(vm.address), screen),
    ...fact(
      "Host",
      vm.host === null
        ? undefined
        : [vm.host, vm.accel, vm.tee && `tee: ${vm.tee}`, vm.gpu && `GPU ${vm.gpu}`].filter(Boolean).join(", "),
      screen,
    ),
    ...fact("", vm.hostStatus === "unreachable" ? unreachable(vm) : undefined, screen),
    ...fact("Host data", vm.hostData ?? undefined, screen),
    ...fact("Queue", `pool ${vm.pool}, ${vm.priority} priority, owner ${vm.owner}`, screen),
    ...fact("Needs", needs(spec), screen),
    ...fact("Waits", waits(vm, inFuture), screen),
    ...fact(
      "Attempts",
      `${vm.attempts.made} of ${vm.attempts.max} failed, ${vm.epoch === 1 ? "1 launch" : `${vm.epoch} launches`}`,
      screen,
    ),
    ...fact("Limits", limits(spec), screen),
    ...fact(
      "Ends",
      vm.expiresAt === null || isFinal(vm.state) ? undefined : `in ${inFuture(vm.expiresAt)} at the latest`,
      screen,
    ),
    ...fact("Next try", vm.retryAt === null ? undefined : `in ${inFuture(vm.retryAt)}`, screen),
    ...fact("Probe", probeText(spec.probe), screen),
    ...fact(
      "Ran for",
      started === undefined || vm.endedAt === null ? undefined : formatSpan(Date.parse(vm.endedAt) - started),
      screen,
    ),
    ...fact("Ended", ended(vm), screen),
    ...fact(
      "Removal",
      vm.removal === null ? undefined : `${vm.removal.reason} by ${vm.removal.by}, ${ago(vm.removal.at)}`,
      screen,
    ),
    ...fact("Secrets", vm.hasSecrets ? "sealed" : undefined, screen),
    ...fact("Dismissed", vm.dismissed === null ? undefined : `by ${vm.dismissed.by}, ${ago(vm.dismissed.at)}`, screen),
  ];
}

function unreachable({ host, removal }: VmView): string {
  const then =
    removal === null ? "the VM may well run on" : "the VM is removed when the host proves its end, or is forgotten";
  return `The host shows no sign of life; ${then}. See \`drover hosts ${host ?? ""}\`.`;
}

function ended({ endReason, unverified }: VmView): string | undefined {
  if (endReason === null) return undefined;
  return unverified ? `${endReason}, not verified: its host was forgotten` : endReason;
}

/** To the second, in UTC: hosts and people may be in different places. */
function clock(time: string): string {
  return time.replace("T", " ").replace(/\.\d+Z$/, "Z");
}

function fact(label: string, value: string | undefined, { columns, paint }: DetailScreen): readonly string[] {
  if (value === undefined || value === "") return [];
  const indent = LABEL_CHARS + 2;
  const [first = "", ...more] = wrap(printable(value), columns - indent);
  return [`  ${paint.dim(label.padEnd(LABEL_CHARS))}${first}`, ...more.map((line) => `${" ".repeat(indent)}${line}`)];
}

function limits(spec: VmView["spec"]): string {
  return [
    spec.ttl && `ttl ${spec.ttl}`,
    spec.queueTimeout && `queue ${spec.queueTimeout}`,
    spec.bootTimeout && `boot ${spec.bootTimeout}`,
  ]
    .filter(Boolean)
    .join(", ");
}

function needs({ tee, gpu, memoryClass, hostLabels = {} }: VmView["spec"]): string {
  return [
    tee && (tee === "none" ? "no TEE" : tee),
    gpu === undefined ? "" : gpu ? "a GPU" : "no GPU",
    memoryClass && `memory ${memoryClass}`,
    ...Object.entries(hostLabels).map(([name, value]) => `${name}=${value}`),
  ]
    .filter(Boolean)
    .join(", ");
}

/** One line: why it waits, where it stands, and when that may change. */
function waits({ waiting }: VmView, inFuture: (time: string) => string): string | undefined {
  if (waiting == null) return undefined;
  const { reason, message, position, retryAt } = waiting;
  const place = position === null ? "" : ` Place ${position} in its queue.`;
  return `${reason}: ${message}${place}${retryAt === null ? "" : ` In ${inFuture(retryAt)}.`}`;
}

function probeText(probe: VmView["spec"]["probe"]): string | undefined {
  if (probe === undefined || probe.type === "none") return undefined;
  return probe.type === "tcp" ? "tcp" : `console shows "${probe.text}"`;
}

function cause(vm: VmView, screen: DetailScreen): readonly string[] {
  if (vm.cause === null) return [];
  const { code, message, fault, action } = vm.cause;
  const lines = (text: string) => wrap(printable(text), screen.columns - 2).map((line) => `  ${line}`);
  return ["", `${screen.paint.red(code)} (the ${fault}'s fault)`, ...lines(message), ...lines(`What to do: ${action}`)];
}

function result(vm: VmView, screen: DetailScreen): readonly string[] {
  if (vm.result === null) return [];
  const { exitCode, text, data } = vm.result;
  const heading = `Result${exitCode === null ? "" : ` (exit code ${exitCode})`}`;
  if (text === null) {
    const bytes = data === null ? 0 : Buffer.from(data, "base64").length;
    return [
      "",
      screen.paint.bold(heading),
      bytes === 0 ? "  none" : `  ${bytes} bytes that are no text; --json has them as base64`,
    ];
  }
  return ["", screen.paint.bold(heading), ...indented(consoleLines(text), RESULT_LINES, "first", screen)];
}

function launches(vm: VmView, screen: DetailScreen): readonly string[] {
  const failedBefore = vm.launches.some((launch) => launch.cause !== null);
  if (!failedBefore && vm.launches.length < 2) return [];
  const rows = vm.launches.map((launch) => [
    { text: String(launch.epoch) },
    { text: launch.host },
    { text: launch.port === null ? "" : String(launch.port) },
    { text: launch.endedAt === null ? "" : formatSpan(Date.parse(launch.endedAt) - Date.parse(launch.startedAt)) },
    { text: launch.cause === null ? "" : `${launch.cause.code}: ${launch.cause.message}` },
  ]);
  const columns = [
    { title: "LAUNCH" },
    { title: "HOST", shrinkTo: 8 },
    { title: "PORT", optional: true },
    { title: "TOOK", optional: true },
    { title: "CAUSE", shrinkTo: 16, optional: true },
  ];
  return ["", ...renderTable(columns, rows, screen.columns - 2).map((line) => `  ${line}`)];
}

function tail(title: string, text: string, screen: DetailScreen): readonly string[] {
  const lines = consoleLines(text);
  if (lines.length === 0) return [];
  const what = lines.length > TAIL_LINES ? ` (last ${TAIL_LINES} of ${lines.length} lines)` : "";
  return ["", screen.paint.bold(`${title}${what}`), ...indented(lines, TAIL_LINES, "last", screen)];
}

function indented(
  lines: readonly string[],
  max: number,
  end: "first" | "last",
  { columns }: DetailScreen,
): readonly string[] {
  const kept = end === "first" ? lines.slice(0, max) : lines.slice(-max);
  const shown = kept.flatMap((line) => wrap(printable(line), columns - 2)).map((line) => `  ${line}`);
  return end === "first" && lines.length > max ? [...shown, `  ... ${lines.length - max} more lines`] : shown;
}
