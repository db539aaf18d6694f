import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { StreamId } from "../../contract/http-query.ts";
import { VM_EVENT_TYPES } from "../../contract/vm-event.ts";
import { choices } from "../choice.ts";
import { UsageError } from "../cli-error.ts";
import { type StreamItem, streamEvents } from "../client/event-stream.ts";
import { resolveVmIds } from "../client/vm-id.ts";
import { newCommand } from "../new-command.ts";
import { EVENT_WORD_CHARS, eventText, eventWord } from "../render/event-text.ts";
import type { Paint } from "../render/paint.ts";
import { printable, truncate } from "../render/text-width.ts";
import { jsonLine, openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";

const SHORT_ID_CHARS = 8;

interface EventsOptions {
  readonly follow?: boolean;
  readonly after?: string;
  readonly vm?: readonly string[];
  readonly type?: readonly string[];
}

/** `drover events --follow`. */
export function eventsCommand(context: CliContext): Command {
  return newCommand("events", {
    summary: "follow what happens to all VMs, or to some",
    about:
      "Shows events as they happen, until Ctrl-C. --after 0 begins with the oldest that is kept. With --json each line " +
      "is a CloudEvent with the id of its place in the stream beside it, to resume --after it. docs/events.md lists " +
      "all types.",
    examples: [
      "drover events --follow",
      "drover events -f --vm 3f2a91c4 --after 0",
      "drover events -f --json --type vm.failed | jq .event.data",
    ],
  })
    .option("-f, --follow", "go on with what is new (the only way there is; needed)")
    .option("--after <id>", "begin after this place of the stream; 0: from the oldest", (text) => {
      if (!StreamId.safeParse(text).success)
        throw new InvalidArgumentError("Give the id of an event in the stream, like 1732372845123-0, or 0.");
      return text;
    })
    .option("--vm <id>", "only of this VM (repeat it)", (text: string, before: readonly string[] | undefined) => [
      ...(before ?? []),
      text,
    ])
    .option("--type <types>", "only of these types", choices(VM_EVENT_TYPES))
    .action(async (options: EventsOptions, command: Command) => {
      if (options.follow !== true)
        throw new UsageError("events come as they happen: say --follow", { hint: "drover events --follow" });
      const { api, json } = openSession(command, context);
      const vm = options.vm === undefined ? undefined : await resolveVmIds(api, options.vm);
      const items = streamEvents(api.target, {
        filter: { vm, type: options.type },
        ...(options.after === undefined ? {} : { after: options.after }),
      });
      for await (const item of items) await show(item, json, context);
    });
}

function show(item: StreamItem, json: boolean, { terminal }: CliContext): Promise<void> | void {
  if (item.kind === "open") return;
  if (item.kind === "gap") {
    if (json) return terminal.out(jsonLine({ gap: item.notice }));
    const why = item.notice.reason === "trimmed" ? "are not kept any more" : "are lost: Redis lost its data";
    return terminal.err(
      `${terminal.errPaint.yellow("gap:")} events after ${item.notice.after} ${why}; going on after ${item.notice.resumedAfter}\n`,
    );
  }
  if (json) return terminal.out(jsonLine({ id: item.streamId ?? null, event: item.event }));
  return terminal.out(`${eventLine(item, terminal.columns, terminal.paint)}\n`);
}

function eventLine({ event }: Extract<StreamItem, { kind: "event" }>, columns: number, paint: Paint): string {
  const time = localTime(event.time);
  const id = event.subject.slice(0, SHORT_ID_CHARS);
  const word = eventWord(event).padEnd(EVENT_WORD_CHARS);
  const head = `${time}  ${id}  ${word}  `;
  const text = truncate(printable(eventText(event)), Math.max(20, columns - head.length));
  return `${paint.dim(time)}  ${id}  ${paintWord(event.type, word, paint)}  ${text}`.trimEnd();
}

function paintWord(type: string, word: string, paint: Paint): string {
  if (type === "vm.failed") return paint.red(word);
  if (type === "vm.retrying" || type === "vm.expired" || type === "vm.port_changed") return paint.yellow(word);
  return type === "vm.completed" || type === "vm.running" || type === "vm.ready" ? paint.green(word) : word;
}

function localTime(time: string): string {
  const date = new Date(time);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}
