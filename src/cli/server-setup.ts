import { setTimeout as delay } from "node:timers/promises";
import type { FieldProblem } from "../contract/errors.ts";
import { within } from "../runtime/bounded-wait.ts";
import { loadConfig } from "../runtime/config/load-config.ts";
import type { Config } from "../runtime/config-shape.ts";
import { createLogger, type Logger } from "../runtime/logger.ts";
import { CliError, toCliError } from "./cli-error.ts";
import { EXIT } from "./exit-codes.ts";
import { LogText } from "./render/log-text.ts";
import { printable, wrap } from "./render/text-width.ts";
import type { CliContext, Terminal } from "./terminal.ts";

/** A start that takes longer than this, on a Redis that is away or with many VMs to take over, is given up. */
const LATE_START_MS = 3_000;
/** What it takes to give back what a start has taken by then. */
const ABANDON_MAX_MS = 4_000;

/** The configuration out of the environment; its warnings are told once. Problems end the command with exit code 2. */
export function configFrom(context: CliContext): Config {
  const { config, warnings } = loadConfig(context.env);
  for (const warning of warnings) context.terminal.err(warningText(warning, context.terminal));
  return config;
}

/** What this process and its children make from here on is their user's only, whatever the shell's umask is. */
export function keepFilesPrivate(): void {
  process.umask(0o077);
}

/** One warning about the configuration, broken at the screen's width. */
export function warningText({ field, message }: FieldProblem, { errPaint, columns }: Terminal): string {
  const [first = "", ...more] = wrap(printable(`${field}: ${message}`), columns - 9);
  return `${[`${errPaint.yellow("warning:")} ${first}`, ...more.map((line) => `         ${line}`)].join("\n")}\n`;
}

/** A logger of JSON lines; on a screen, lines for people. */
export function serverLogger(config: Config, name: string, { terminal }: CliContext): Logger {
  const level = config.manager.logLevel;
  if (!terminal.errIsScreen) return createLogger({ level, name });
  const text = new LogText(terminal.errPaint);
  return createLogger({ level, name, destination: { write: (line) => terminal.err(text.format(line)) } });
}

/** Resolves when a signal asks the command to stop. */
export function untilStopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/**
 * What `start` gives. When a signal comes first, what was started late all the same is ended before the command ends:
 * a worker may have launched something by then. A start that takes too long for that is abandoned, and has a moment to
 * give back what it has taken.
 */
export async function startUnlessStopped<T>(
  start: Promise<T>,
  end: (started: T) => Promise<void>,
  signal: AbortSignal,
  abandon?: AbortController,
): Promise<T> {
  start.catch(() => undefined); // a signal may win the race; then nobody hears of it
  const first = await Promise.race([start.then((started) => ({ started })), untilStopped(signal)]);
  if (first !== undefined) return first.started;
  const late = await Promise.race([
    start.then((started) => ({ started })).catch(() => undefined),
    delay(LATE_START_MS, undefined, { ref: false }),
  ]);
  if (late !== undefined) await end(late.started);
  else if (abandon !== undefined) {
    abandon.abort(signal.reason);
    await within(
      start.catch(() => undefined),
      ABANDON_MAX_MS,
    ); // its own error is not the news: the signal is
  }
  throw signal.reason;
}

/** An error of a start in the user's words: which setting mends it. */
export function startError(error: unknown, config: Config): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const isGrpc = error instanceof Error && "port" in error && error.port === config.grpc.port;
  const prefix = isGrpc ? "MANAGER_GRPC" : "MANAGER_HTTP";
  const { host, port } = isGrpc ? config.grpc : config.http;
  const at = `${host}:${port}`;
  if (code === "EADDRINUSE") {
    return new CliError(`another program listens on ${at}`, {
      code: "port_in_use",
      exitCode: EXIT.usage,
      hint: `Stop it (\`ss -ltnp\` shows it), or take another port with ${prefix}_PORT.`,
      cause: error,
    });
  }
  if (code === "EADDRNOTAVAIL" || code === "EACCES") {
    return new CliError(`cannot listen on ${at} (${code})`, {
      code: "cannot_listen",
      exitCode: EXIT.usage,
      hint: `Check ${prefix}_HOST and ${prefix}_PORT.`,
      cause: error,
    });
  }
  return toCliError(error);
}
