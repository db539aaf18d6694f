import type { BatchView } from "../contract/batch.ts";
import { pause } from "../runtime/bounded-wait.ts";
import { CliError } from "./cli-error.ts";
import type { BatchClient } from "./client/batch-client.ts";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { progressText, renderProgress } from "./render/batch-text.ts";
import type { CliContext } from "./terminal.ts";

const LOOK_EVERY_MS = 1_000;
/** A log wants a line now and then, a screen the newest. */
const LOG_EVERY_MS = 10_000;
/** An API that is away for longer is given up; the batch goes on. */
const PATIENCE_MS = 10 * 60_000;

export interface BatchWait {
  readonly batches: Pick<BatchClient, "get">;
  readonly id: string;
  /** For programs: no progress is told. */
  readonly quiet: boolean;
  readonly signal: AbortSignal;
  /** How often is looked; settable so that tests are quick. */
  readonly everyMs?: number;
}

type Screen = Pick<CliContext, "now"> & {
  readonly terminal: Pick<CliContext["terminal"], "err" | "errIsScreen" | "errPaint" | "columns">;
};

/** Waits until a batch has ended and tells how it fares meanwhile. Gives it as it ended. */
export async function waitForBatch(
  { batches, id, quiet, signal, everyMs = LOOK_EVERY_MS }: BatchWait,
  screen: Screen,
): Promise<BatchView> {
  const progress = new Progress(screen);
  let awaySinceMs: number | undefined;
  for (;;) {
    try {
      const batch = await batches.get(id);
      awaySinceMs = undefined;
      if (!quiet) progress.tell(batch);
      if (batch.state === "ended") return batch;
    } catch (error) {
      if (!isAway(error)) throw error;
      awaySinceMs ??= performance.now();
      if (performance.now() - awaySinceMs > PATIENCE_MS) throw error;
    }
    await pause(everyMs, signal);
  }
}

/** What a waiting command ends with. */
export function exitCodeOfBatch({ outcome, counts }: BatchView): ExitCode {
  if (outcome === "completed") return EXIT.ok;
  return counts.failed > 0 ? EXIT.failed : EXIT.endedEarly;
}

function isAway(error: unknown): boolean {
  return error instanceof CliError && error.exitCode === EXIT.unreachable && error.code !== "foreign_reply";
}

/** A bar that is drawn again and again on a screen; elsewhere a line when something has changed. */
class Progress {
  readonly #screen: Screen;
  #linesDrawn = 0;
  #toldAtMs = Number.NEGATIVE_INFINITY;
  #toldText = "";

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  tell(batch: BatchView): void {
    const { terminal, now } = this.#screen;
    if (terminal.errIsScreen) {
      const screen = { columns: terminal.columns, paint: terminal.errPaint, nowMs: now() };
      this.#draw(renderProgress(batch, screen));
      return;
    }
    const text = progressText(batch, now());
    const isDue = performance.now() - this.#toldAtMs >= LOG_EVERY_MS || batch.state === "ended";
    if (!isDue || text === this.#toldText) return;
    this.#toldAtMs = performance.now();
    this.#toldText = text;
    terminal.err(`${text}\n`);
  }

  #draw(lines: readonly string[]): void {
    const back = this.#linesDrawn === 0 ? "" : `\u001b[${this.#linesDrawn}A`;
    this.#screen.terminal.err(`${back}\u001b[J${lines.join("\n")}\n`);
    this.#linesDrawn = lines.length;
  }
}
