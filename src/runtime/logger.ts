import { type DestinationStream, type Logger, pino } from "pino";
import { VmSecrets } from "../contract/vm-request.ts";
import type { Config } from "./config-shape.ts";
import { describeError } from "./error-log.ts";

export type { Logger } from "pino";

/** Names under which a secret could be logged by mistake; censored at the top and two levels down. */
const SECRET_NAMES = [
  ...Object.keys(VmSecrets.shape),
  "authorization",
  "cookie",
  "secretsKey",
  "sealedSecrets",
  "password",
];

export interface LoggerOptions {
  readonly level: Config["manager"]["logLevel"];
  /** Which part of drover writes: "api", "worker". */
  readonly name: string;
  /** Standard output when left out. */
  readonly destination?: DestinationStream;
}

/**
 * The one way to a logger. Two nets keep secrets out: errors pass a serializer that lets only known fields through
 * (a reply error of ioredis, for one, carries the arguments of its command), and known names are censored wherever
 * they stand. Neither replaces the rule that bodies and headers are never handed to a logger.
 */
export function createLogger({ level, name, destination }: LoggerOptions): Logger {
  const options = {
    level,
    base: { name },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: {
      err: describeError,
      error: describeError,
      cause: describeError,
      req: () => "[not logged]",
      res: () => "[not logged]",
    },
    redact: {
      paths: SECRET_NAMES.flatMap((secret) => [secret, `*.${secret}`, `*.*.${secret}`]),
      censor: "[secret]",
    },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}
