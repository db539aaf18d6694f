import type { CloudEvent } from "../contract/vm-event.ts";
import { isFinal, type VmState } from "../contract/vm-state.ts";
import type { VmAccepted, VmDetail } from "../contract/vm-view.ts";
import { VmFollower } from "./client/follow-vms.ts";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { Interrupted } from "./interrupted.ts";
import { consoleLines } from "./render/console-text.ts";
import { EVENT_WORD_CHARS, eventText, eventWord } from "./render/event-text.ts";
import { printable, wrap } from "./render/text-width.ts";
import { jsonDocument, type Session } from "./session.ts";
import type { CliContext } from "./terminal.ts";

const TIME_CHARS = 9;
const TAIL_LINES = 12;

/** How `submit --wait` tells one VM's life: progress as it happens, then how it ended. */
export class WaitReport {
  readonly #follower: VmFollower;
  readonly #context: CliContext;

  private constructor(follower: VmFollower, context: CliContext) {
    this.#follower = follower;
    this.#context = context;
  }

  /** To be opened before the VM is submitted, so that its first steps are seen. */
  static async open(session: Session, context: CliContext): Promise<WaitReport> {
    const { terminal } = context;
    let firstAtMs: number | undefined;
    const follower = await VmFollower.open(session.api, {
      onEvent: (event) => {
        firstAtMs ??= Date.parse(event.time);
        if (!session.json) terminal.err(progressLine(event, Date.parse(event.time) - firstAtMs, context));
      },
      onEnd: (vm) => {
        context.setExitCode(exitCodeOfEnd(vm.state));
        return session.json ? terminal.out(jsonDocument(vm)) : tellEnd(vm, context);
      },
    });
    return new WaitReport(follower, context);
  }

  async untilEnd(vm: VmAccepted): Promise<void> {
    try {
      await this.#follower.add(vm.id, { look: vm.replayed || isFinal(vm.state) });
      await this.#follower.untilAllEnded();
    } catch (error) {
      const short = vm.id.slice(0, 8);
      if (error instanceof Interrupted)
        this.#context.terminal.err(`The VM goes on: drover get ${short}, or drover rm ${short}\n`);
      throw error;
    }
  }
}

/** What a waiting command ends with. */
export function exitCodeOfEnd(state: VmState): ExitCode {
  if (state === "completed") return EXIT.ok;
  return state === "failed" ? EXIT.failed : EXIT.endedEarly;
}

function progressLine(event: CloudEvent, sinceFirstMs: number, { terminal }: CliContext): string {
  const { errPaint: paint, columns } = terminal;
  const time = `${(sinceFirstMs / 1000).toFixed(1)} s`.padStart(TIME_CHARS);
  const indent = TIME_CHARS + EVENT_WORD_CHARS + 4;
  const [first = "", ...more] = wrap(printable(eventText(event)), Math.max(20, columns - indent));
  const word = eventWord(event).padEnd(EVENT_WORD_CHARS);
  const lines = [
    `${paint.dim(time)}  ${paint.bold(word)}  ${first}`,
    ...more.map((line) => `${" ".repeat(indent)}${line}`),
  ];
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

function tellEnd(vm: VmDetail, { terminal }: CliContext): void {
  const { errPaint: paint, columns } = terminal;
  const body = (text: string) => wrap(printable(text), columns - 2).map((line) => `  ${line}`);
  const lines: string[] = [];
  if (vm.result?.text != null && vm.result.text !== "") {
    lines.push(paint.bold("Result"), ...consoleLines(vm.result.text).flatMap(body));
  }
  if (vm.cause !== null && vm.state === "failed") {
    const last = consoleLines(vm.tail?.console ?? "").slice(-TAIL_LINES);
    if (last.length > 0) lines.push(paint.bold("Last lines of the console"), ...last.flatMap(body));
    lines.push(...wrap(`What to do: ${vm.cause.action}`, columns));
  }
  if (lines.length > 0) terminal.err(`${lines.join("\n")}\n`);
}
