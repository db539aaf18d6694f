import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import type { BatchHead } from "../contract/batch.ts";
import { REQUEST_MAX_BYTES } from "../contract/limits.ts";
import { UsageError } from "./cli-error.ts";
import type { CliContext } from "./terminal.ts";

/** What of a batch's head stands on the command line. */
export type HeadFlags = BatchHead;

/** A batch as it is sent: the file's own bytes, as often as need be, with the command line's head over it. */
export interface BatchInput {
  readonly contentType: string;
  readonly bytes: () => AsyncGenerator<Uint8Array>;
  /** Lines that were put before those of the file. */
  readonly linesBefore: number;
}

const NDJSON = "application/x-ndjson";
const JSON_TYPE = "application/json";

/** Looks at the beginning of a file ("-": standard input) and says how it is sent. Throws a usage error. */
export async function openBatchInput(path: string, flags: HeadFlags, context: CliContext): Promise<BatchInput> {
  const source = path === "-" ? fromMemory(await context.terminal.readStdin()) : await fromFile(path);
  const name = path === "-" ? "standard input" : path;
  const { start } = source;
  const hasFlags = Object.keys(flags).length > 0;
  const text = start.toString("utf8").replace(/^\ufeff/, "");
  if (text.trim() === "") throw new UsageError(`${name} holds no request`);
  if (text.trimStart().startsWith("[")) {
    const before = `{${headFields(flags)}"items":`;
    return { contentType: JSON_TYPE, bytes: () => wrapped(before, source.bytes(0), "}"), linesBefore: 0 };
  }
  const newline = start.indexOf("\n");
  const first = parseObject(newline === -1 ? text : start.subarray(0, newline).toString("utf8"));
  if (first === undefined || "items" in first) {
    if (hasFlags) {
      throw new UsageError(`${name} is a JSON object; what holds for the whole batch must stand in it`, {
        hint: "Leave the options out, or write one request on each line.",
      });
    }
    return { contentType: JSON_TYPE, bytes: () => source.bytes(0), linesBefore: 0 };
  }
  if (!hasFlags) return { contentType: NDJSON, bytes: () => source.bytes(0), linesBefore: 0 };
  if (!("batch" in first)) {
    const before = `${JSON.stringify({ batch: flags })}\n`;
    return { contentType: NDJSON, bytes: () => wrapped(before, source.bytes(0), ""), linesBefore: 1 };
  }
  const merged = `${JSON.stringify({ ...first, batch: withHeadFlags(first.batch, flags) })}\n`;
  const from = newline === -1 ? start.length : newline + 1;
  return { contentType: NDJSON, bytes: () => wrapped(merged, source.bytes(from), ""), linesBefore: 0 };
}

interface Source {
  /** As much as a line may hold. */
  readonly start: Buffer;
  readonly bytes: (from: number) => AsyncGenerator<Uint8Array>;
}

function fromMemory(whole: Buffer): Source {
  return {
    start: whole.subarray(0, REQUEST_MAX_BYTES),
    bytes: async function* (from) {
      yield whole.subarray(from);
    },
  };
}

async function fromFile(path: string): Promise<Source> {
  try {
    await using file = await open(path, "r");
    // A pipe such as <(generate) can be read once only, and it may have to be sent twice.
    if (!(await file.stat()).isFile()) return fromMemory(await file.readFile());
    const { buffer, bytesRead } = await file.read(Buffer.alloc(REQUEST_MAX_BYTES), 0, REQUEST_MAX_BYTES, 0);
    return {
      start: buffer.subarray(0, bytesRead),
      bytes: async function* (from) {
        yield* createReadStream(path, { start: from });
      },
    };
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${error instanceof Error ? error.message : ""}`);
  }
}

async function* wrapped(before: string, bytes: AsyncIterable<Uint8Array>, after: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(before);
  yield* bytes;
  if (after !== "") yield Buffer.from(after);
}

/** The fields of an object up to its next one. */
function headFields(flags: HeadFlags): string {
  const text = JSON.stringify(flags).slice(1, -1);
  return text === "" ? "" : `${text},`;
}

/** Flags go before what the file says; labels of both are kept. */
function withHeadFlags(batch: unknown, flags: HeadFlags): object {
  const own = asObject(batch);
  const ownDefaults = asObject("defaults" in own ? own.defaults : undefined);
  const ownLabels = asObject("labels" in ownDefaults ? ownDefaults.labels : undefined);
  const labels = { ...ownLabels, ...flags.defaults?.labels };
  const defaults = { ...ownDefaults, ...flags.defaults, ...(Object.keys(labels).length === 0 ? {} : { labels }) };
  return { ...own, ...flags, ...(Object.keys(defaults).length === 0 ? {} : { defaults }) };
}

function parseObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined; // an object over many lines, or no JSON at all: the API says which
  }
}

function asObject(value: unknown): object {
  return typeof value === "object" && value !== null ? value : {};
}
