import { z } from "zod";

/** Longest line that is read. The longest wanted one is a ring read: 64 KiB as base64. */
export const QMP_LINE_MAX_BYTES = 1024 * 1024;

/** Shapes of the replies that drover reads. Unknown members are QEMU's to add. */
export const QMP_REPLIES = {
  qmp_capabilities: z.unknown(),
  "query-status": z.object({ status: z.string(), running: z.boolean() }),
  "query-uuid": z.object({ UUID: z.string() }),
  "query-name": z.object({ name: z.string().optional() }),
  "query-version": z.object({
    qemu: z.object({ major: z.int(), minor: z.int(), micro: z.int() }),
    package: z.string(),
  }),
  cont: z.unknown(),
  system_powerdown: z.unknown(),
  quit: z.unknown(),
  "ringbuf-read": z.string(),
  "human-monitor-command": z.string(),
} as const satisfies Record<string, z.ZodType>;

export type QmpCommand = keyof typeof QMP_REPLIES;
export type QmpReply<C extends QmpCommand> = z.infer<(typeof QMP_REPLIES)[C]>;

interface SpecialArguments {
  readonly "ringbuf-read": { readonly device: string; readonly size: number; readonly format: "base64" };
  readonly "human-monitor-command": { readonly "command-line": string };
}
export type QmpArguments<C extends QmpCommand> = C extends keyof SpecialArguments
  ? SpecialArguments[C]
  : Readonly<Record<string, never>>;

/** Something that QEMU tells unasked. Past events are not told again to a later client. */
export interface QmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** QEMU's clock: milliseconds since 1970. */
  readonly atMs: number;
}

export type QmpMessage =
  | { readonly kind: "greeting"; readonly version: string }
  | { readonly kind: "reply"; readonly id: number; readonly value: unknown }
  | { readonly kind: "refusal"; readonly id: number | undefined; readonly description: string }
  | { readonly kind: "event"; readonly event: QmpEvent }
  | { readonly kind: "malformed"; readonly text: string };

const Greeting = z.object({ QMP: z.object({ version: QMP_REPLIES["query-version"] }) });
const Reply = z.object({ return: z.unknown(), id: z.int() });
const Refusal = z.object({ error: z.object({ class: z.string(), desc: z.string() }), id: z.int().optional() });
const Event = z.object({
  event: z.string(),
  data: z.record(z.string(), z.unknown()).default({}),
  timestamp: z.object({ seconds: z.number(), microseconds: z.number() }),
});

/** One line of QMP (QEMU's docs/interop/qmp-spec) as a message. Never throws. */
export function parseQmpLine(line: string): QmpMessage {
  const malformed: QmpMessage = { kind: "malformed", text: line.slice(0, 200) };
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return malformed;
  }
  if (typeof json !== "object" || json === null) return malformed;
  if ("return" in json) {
    const reply = Reply.safeParse(json);
    return reply.success ? { kind: "reply", id: reply.data.id, value: reply.data.return } : malformed;
  }
  if ("event" in json) {
    const event = Event.safeParse(json);
    if (!event.success) return malformed;
    const { seconds, microseconds } = event.data.timestamp;
    const atMs = Math.floor(seconds * 1000 + microseconds / 1000);
    return { kind: "event", event: { name: event.data.event, data: event.data.data, atMs } };
  }
  if ("error" in json) {
    const refusal = Refusal.safeParse(json);
    if (!refusal.success) return malformed;
    return { kind: "refusal", id: refusal.data.id, description: refusal.data.error.desc };
  }
  const greeting = Greeting.safeParse(json);
  if (!greeting.success) return malformed;
  const { major, minor, micro } = greeting.data.QMP.version.qemu;
  return { kind: "greeting", version: `${major}.${minor}.${micro}` };
}

/** A command as the line that goes to QEMU. */
export function qmpCommandLine<C extends QmpCommand>(id: number, command: C, args: QmpArguments<C>): string {
  return `${JSON.stringify({ execute: command, arguments: args, id })}\n`;
}

/** Cuts a byte stream into lines and refuses one that never ends. */
export class LineSplitter {
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** The lines that `chunk` completes. Throws RangeError when a line is longer than {@link QMP_LINE_MAX_BYTES}. */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      this.#hold(chunk.subarray(start, end));
      const line = Buffer.concat(this.#held).toString("utf8").trimEnd();
      if (line !== "") lines.push(line);
      this.#held = [];
      this.#heldBytes = 0;
      start = end + 1;
    }
    if (start < chunk.length) this.#hold(chunk.subarray(start));
    return lines;
  }

  #hold(part: Buffer): void {
    this.#heldBytes += part.length;
    if (this.#heldBytes > QMP_LINE_MAX_BYTES)
      throw new RangeError(`a QMP line is longer than ${QMP_LINE_MAX_BYTES} bytes`);
    this.#held.push(part);
  }
}
