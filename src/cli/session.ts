import type { Command } from "commander";
import { ApiClient } from "./client/api-client.ts";
import { resolveApiUrl } from "./client/api-url.ts";
import { readClientAccess } from "./client/client-access.ts";
import type { CliContext } from "./terminal.ts";

/** The options that every client command takes, before or after its name. */
export interface GlobalOptions {
  readonly url?: string;
  readonly json?: boolean;
}

/** What a client command works with. */
export interface Session {
  readonly api: ApiClient;
  /** One JSON document (or one on each line) instead of text. */
  readonly json: boolean;
}

export function openSession(command: Command, context: CliContext, signal: AbortSignal = context.signal): Session {
  const { url, json } = command.optsWithGlobals<GlobalOptions>();
  const baseUrl = resolveApiUrl(url, context.env);
  const { terminal, env } = context;
  const access = readClientAccess(env, baseUrl, (message) =>
    terminal.err(`${terminal.errPaint.yellow("warning:")} ${message}\n`),
  );
  return { api: new ApiClient({ baseUrl, signal, access }), json: json === true };
}

/** One JSON document on one line. */
export function jsonLine(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

/** One JSON document for people who look at it, too. */
export function jsonDocument(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
