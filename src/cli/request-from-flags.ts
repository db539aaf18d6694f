import { open } from "node:fs/promises";
import { PEM_MAX_BYTES } from "../contract/limits.ts";
import { UsageError } from "./cli-error.ts";
import { optionKey, REQUEST_FLAGS, type RequestFlag } from "./request-flags.ts";
import type { CliContext } from "./terminal.ts";

export type RequestFields = Readonly<Record<string, unknown>>;

const AWS_VARIABLES = {
  awsAccessKeyId: "AWS_ACCESS_KEY_ID",
  awsSecretAccessKey: "AWS_SECRET_ACCESS_KEY",
  awsRegion: "AWS_REGION",
  awsEndpointUrl: "AWS_ENDPOINT_URL",
} as const;

/** The fields of a request that stand on the command line, files read. Not checked yet. */
export async function requestFromFlags(options: RequestFields, context: CliContext): Promise<RequestFields> {
  const fields: Record<string, unknown> = options["awsFromEnv"] === true ? awsFromEnv(context.env) : {};
  let stdinUser: string | undefined;
  for (const flag of REQUEST_FLAGS) {
    const value = options[optionKey(flag)];
    if (value === undefined) continue;
    const name = flag.flags.split(" ")[0] ?? "";
    if (value === "-" && (flag.kind === "pem" || flag.kind === "line")) {
      if (stdinUser !== undefined) throw new UsageError(`${stdinUser} and ${name} cannot both read standard input`);
      stdinUser = name;
    }
    fields[flag.field] = await fieldValue(flag, name, value, context);
  }
  return fields;
}

/** A request out of a file with the command line's fields over it; labels of both are kept. */
export function withFlags(request: RequestFields, flags: RequestFields): RequestFields {
  const merged = ["labels", "hostLabels"].map((field) => {
    return [field, { ...asObject(request[field]), ...asObject(flags[field]) }] as const;
  });
  const given = merged.filter(([, labels]) => Object.keys(labels).length > 0);
  return { ...request, ...flags, ...Object.fromEntries(given) };
}

async function fieldValue(flag: RequestFlag, name: string, value: unknown, context: CliContext): Promise<unknown> {
  switch (flag.kind) {
    case "labels":
      return labels(value, name);
    case "probe":
      return probe(String(value));
    case "pem":
      return fileField(await readBytes(String(value), name, context));
    case "line":
      return oneLine(await readBytes(String(value), name, context), name);
    default:
      return value;
  }
}

function labels(texts: unknown, name: string): Record<string, string> {
  const pairs = Array.isArray(texts) ? texts.map(String) : [];
  return Object.fromEntries(
    pairs.map((text) => {
      const equals = text.indexOf("=");
      if (equals < 1)
        throw new UsageError(`${name} ${text}: write it like ${name === "--label" ? "team=physics" : "zone=a"}`);
      return [text.slice(0, equals), text.slice(equals + 1)];
    }),
  );
}

function probe(text: string): object {
  if (text === "none" || text === "tcp") return { type: text };
  if (text.startsWith("console:") && text.length > "console:".length)
    return { type: "console", text: text.slice("console:".length) };
  throw new UsageError(`--probe ${text}: there are none, tcp and console:TEXT`, {
    hint: 'For example --probe "console:login:": ready when the console shows "login:".',
  });
}

/** PEM goes as text, anything else (DER) as base64, as the API reads it. */
function fileField(bytes: Buffer): string {
  const text = bytes.toString("utf8");
  const start = text.indexOf("-----BEGIN ");
  return start === -1 ? bytes.toString("base64") : text.slice(start);
}

function oneLine(bytes: Buffer, name: string): string {
  const text = bytes.toString("utf8").replace(/\r?\n$/, "");
  if (text === "") throw new UsageError(`the file of ${name} is empty`);
  if (/[\r\n]/.test(text)) throw new UsageError(`the file of ${name} must hold one line`);
  return text;
}

async function readBytes(path: string, name: string, context: CliContext): Promise<Buffer> {
  if (path === "-") return context.terminal.readStdin();
  try {
    await using file = await open(path, "r");
    // Read to a bound, not by size: a pipe such as <(pass show key) has none.
    const buffer = Buffer.alloc(PEM_MAX_BYTES + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) break;
    }
    if (length > PEM_MAX_BYTES)
      throw new UsageError(`the file of ${name} is larger than ${PEM_MAX_BYTES} bytes: ${path}`);
    return buffer.subarray(0, length);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`the file of ${name} cannot be read: ${error instanceof Error ? error.message : path}`);
  }
}

function awsFromEnv(env: CliContext["env"]): Record<string, unknown> {
  const found = Object.entries(AWS_VARIABLES).flatMap(([field, variable]) => {
    const value = env[variable] ?? "";
    return value === "" ? [] : [[field, value] as const];
  });
  if (found.length === 0)
    throw new UsageError(`--aws-from-env: none of ${Object.values(AWS_VARIABLES).join(", ")} is set`);
  return Object.fromEntries(found);
}

function asObject(value: unknown): object {
  return typeof value === "object" && value !== null ? value : {};
}
