import type { ExitCode } from "./exit-codes.ts";
import type { Paint } from "./render/paint.ts";

/**
 * Where a command writes and what it may know of the screen. The entry point makes the real one; tests pass their own,
 * so that no command touches `process`.
 */
export interface Terminal {
  /** Results. Resolves when the reader has taken it, so that an endless stream never fills memory. */
  out(text: string | Uint8Array): Promise<void>;
  /** Progress, hints and errors. */
  err(text: string): void;
  readonly columns: number;
  /** Whether results go to a person's screen. */
  readonly outIsScreen: boolean;
  readonly errIsScreen: boolean;
  readonly paint: Paint;
  /** Colours for what goes to `err`, which may be a screen while the results are piped. */
  readonly errPaint: Paint;
  readStdin(): Promise<Buffer>;
  /** Asks a person and gives the answer; undefined when nobody is there to answer, and nothing was asked then. */
  ask(question: string, signal: AbortSignal): Promise<string | undefined>;
}

/** Everything a command needs beside its own arguments. */
export interface CliContext {
  readonly terminal: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted with an `Interrupted` by Ctrl-C or SIGTERM: a client stops where it is, a server ends well. */
  readonly signal: AbortSignal;
  readonly now: () => number;
  /** Takes over what a second signal means; without it, and from the third on, the command ends at once. */
  onSecondSignal?(listener: () => void): void;
  /** For an outcome that is no error to tell about. */
  setExitCode(code: ExitCode): void;
}
