import type { Cause } from "../contract/causes.ts";
import type { Forensics } from "../contract/forensics.ts";
import { FORENSICS_MAX_BYTES } from "../contract/limits.ts";
import { textTail } from "../qemu/text-tail.ts";
import type { VmOutputs } from "../qemu/vm-outputs.ts";
import type { LaunchEnd } from "./end-plan.ts";
import type { Launch } from "./launch.ts";

const COMMAND_MAX_CHARS = 6_000;
const EVENT_DATA_MAX_CHARS = 300;
const TAIL_LINES = 30;
/** The first that lets everything fit: a console full of control characters takes six bytes for each. */
const TAIL_BYTES = [3_072, 1_024, 256, 0] as const;

/** What is kept of a launch that has failed. `outputs` are masked already. */
export function forensicsOf(
  { identity, port, startedAtMs, command }: Launch,
  failure: { readonly cause: Cause; readonly end: LaunchEnd; readonly endedAtMs: number },
  { console, qemu, qmpEvents = [] }: Pick<VmOutputs, "console" | "qemu" | "qmpEvents">,
): Forensics {
  const { cause, end, endedAtMs } = failure;
  const facts = {
    epoch: identity.epoch,
    host: identity.host,
    port: port ?? null,
    startedAtMs,
    endedAtMs,
    cause,
    command: command === undefined ? null : cut(command, COMMAND_MAX_CHARS),
    exit: end.kind === "failure" ? (end.exit ?? null) : null,
    qmpEvents: qmpEvents.map(({ name, data, atMs }) => ({ name, data: cut(data, EVENT_DATA_MAX_CHARS), atMs })),
  };
  const withTails = (maxBytes: number): Forensics => ({
    ...facts,
    consoleTail: lastLines(console, maxBytes),
    qemuTail: lastLines(qemu, maxBytes),
  });
  const fits = (forensics: Forensics) => Buffer.byteLength(JSON.stringify(forensics)) <= FORENSICS_MAX_BYTES;
  return TAIL_BYTES.map(withTails).find(fits) ?? { ...withTails(0), command: null, qmpEvents: [] };
}

function lastLines(text: string, maxBytes: number): string {
  return textTail(Buffer.from(text), { maxLines: TAIL_LINES, maxBytes });
}

function cut(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars - 1)}…`;
}
