import { createPaint } from "../../../src/cli/render/paint.ts";
import { runProgram } from "../../../src/cli/run-program.ts";

export interface CliRun {
  readonly out: string;
  readonly err: string;
  readonly exitCode: number;
}

export interface CliSetting {
  readonly env?: Readonly<Record<string, string>>;
  readonly columns?: number;
  readonly stdin?: string;
  /** What a person answers; without it nobody is there to be asked. */
  readonly answer?: string;
  readonly signal?: AbortSignal;
  readonly outIsScreen?: boolean;
  readonly onOut?: (text: string) => void;
}

export const NOW_MS = Date.UTC(2026, 10, 23, 19, 2, 0);

/** Runs one command line in this process, with a terminal that keeps what is written to it. */
export async function runCli(words: readonly string[], setting: CliSetting = {}): Promise<CliRun> {
  let out = "";
  let err = "";
  let asked: number | undefined;
  const exitCode = await runProgram(
    {
      terminal: {
        out: (text) => {
          const added = typeof text === "string" ? text : Buffer.from(text).toString();
          out += added;
          setting.onOut?.(added);
          return Promise.resolve();
        },
        err: (text) => {
          err += text;
        },
        columns: setting.columns ?? 80,
        outIsScreen: setting.outIsScreen ?? false,
        errIsScreen: false,
        paint: createPaint(false),
        errPaint: createPaint(false),
        ask: (question) => {
          if (setting.answer !== undefined) err += question;
          return Promise.resolve(setting.answer);
        },
        readStdin: () => Promise.resolve(Buffer.from(setting.stdin ?? "")),
      },
      env: setting.env ?? {},
      signal: setting.signal ?? new AbortController().signal,
      now: () => NOW_MS,
      setExitCode: (code) => {
        asked = code;
      },
    },
    words,
    { version: "1.2.3", node: "20.19.0" },
  );
  return { out, err, exitCode: exitCode ?? asked ?? 0 };
}
