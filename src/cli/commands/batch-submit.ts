import { randomUUID } from "node:crypto";
import type { Command } from "commander";
import type { BatchAccepted, LineProblem } from "../../contract/batch.ts";
import type { FieldProblem } from "../../contract/errors.ts";
import { BATCH_ITEMS_MAX } from "../../contract/limits.ts";
import { PRIORITY_CLASSES, type PriorityClass } from "../../contract/vm-request.ts";
import { type BatchInput, type HeadFlags, openBatchInput } from "../batch-input.ts";
import { exitCodeOfBatch, waitForBatch } from "../batch-wait.ts";
import { choice } from "../choice.ts";
import { CliError } from "../cli-error.ts";
import { BatchClient } from "../client/batch-client.ts";
import { patiently } from "../client/submit-patiently.ts";
import { checkKey } from "../idempotency-key.ts";
import { Interrupted } from "../interrupted.ts";
import { newCommand } from "../new-command.ts";
import { durationMs, wholeNumber } from "../number-option.ts";
import { printProblems, retryTeller } from "../print-error.ts";
import { renderSummary } from "../render/batch-text.ts";
import { requestFromFlags } from "../request-from-flags.ts";
import { jsonDocument, openSession, type Session } from "../session.ts";
import type { CliContext } from "../terminal.ts";
import { limitedSignal } from "../wait-limit.ts";

interface SubmitOptions extends Readonly<Record<string, unknown>> {
  readonly file: string;
  readonly wait?: boolean;
  readonly timeout?: number;
  readonly partial?: boolean;
  readonly name?: string;
  readonly maxParallel?: number;
  readonly stopAfterFailures?: number;
  readonly pool?: string;
  readonly ttl?: string;
  readonly priority?: PriorityClass;
  readonly idempotencyKey?: string;
}

/** Nobody reads more; the count is told. */
const PROBLEMS_SHOWN_MAX = 20;

/** `drover batch submit`. */
export function batchSubmitCommand(context: CliContext): Command {
  const count = wholeNumber(1, BATCH_ITEMS_MAX);
  return newCommand("submit", {
    summary: "ask for many VMs, all or none",
    about:
      "Sends a file of requests, one on each line or a JSON list, as one batch. All lines are checked before anything is " +
      "accepted. Prints the batch's id and ends; with --wait shows how it fares and ends with it. It is sent with an " +
      "idempotency key, so that a lost answer never makes two batches. Options go before what the file says of the batch, " +
      "and what a single request says goes before both.",
    examples: [
      "drover batch submit -f many.ndjson",
      "drover batch submit -f many.ndjson --wait --max-parallel 50",
      "generate | drover batch submit -f - --name nightly --label team=a",
    ],
  })
    .requiredOption("-f, --file <file>", 'one request on each line, or a JSON list; "-" reads standard input')
    .option("-w, --wait", "until all have ended; the exit code tells how (docs/cli.md)")
    .option("--timeout <duration>", "wait no longer than this (exit code 5)", durationMs)
    .option("--partial", "take the valid requests, and leave out the others")
    .option("--name <name>", "a name of the batch, for people")
    .option("--max-parallel <n>", "so many VMs at once at most, in the whole fleet", count)
    .option("--stop-after-failures <n>", "launch nothing further when so many have failed", count)
    .option("--idempotency-key <key>", "submitting again with this key gives the same batch")
    .optionsGroup("For every request that does not say otherwise:")
    .option("--label <name=value>", "a label (repeat it)", (text: string, before: readonly string[] | undefined) => [
      ...(before ?? []),
      text,
    ])
    .option("--pool <pool>", "the pool of hosts to run in")
    .option("--ttl <duration>", "ends a VM this long after it first ran (10m)")
    .option("--priority <class>", PRIORITY_CLASSES.join(", "), choice(PRIORITY_CLASSES))
    .action(async (options: SubmitOptions, command: Command) => {
      const input = await openBatchInput(options.file, await headFlags(options, context), context);
      const idempotencyKey = checkKey(options.idempotencyKey) ?? randomUUID();
      const signal = limitedSignal(context.signal, options.timeout);
      const session = openSession(command, context, signal);
      const accepted = await send(input, { ...options, idempotencyKey }, session, context);
      await tellAccepted(accepted, input, { wait: options.wait === true }, session, context);
      if (options.wait === true) await waitToEnd(accepted.id, signal, session, context);
    });
}

async function headFlags(options: SubmitOptions, context: CliContext): Promise<HeadFlags> {
  const { name, maxParallel, stopAfterFailures, label, pool, ttl, priority } = options;
  const defaults = await requestFromFlags({ label, pool, ttl, priority }, context);
  const head = { name, maxParallel, stopAfterFailures, ...(Object.keys(defaults).length === 0 ? {} : { defaults }) };
  return Object.fromEntries(Object.entries(head).filter(([, value]) => value !== undefined));
}

async function send(
  input: BatchInput,
  { idempotencyKey, partial = false }: { readonly idempotencyKey: string; readonly partial?: boolean },
  session: Session,
  { terminal }: CliContext,
): Promise<BatchAccepted> {
  const batches = new BatchClient(session.api.target);
  const { contentType } = input;
  try {
    return await patiently(
      session.api,
      () => batches.submit({ contentType, bytes: input.bytes() }, { idempotencyKey, partial }),
      retryTeller(terminal, session),
    );
  } catch (error) {
    if (error instanceof CliError && error.code === "batch_invalid" && !session.json) throw shortened(error, input);
    if (!session.json && (error instanceof Interrupted || error instanceof CliError) && error.exitCode !== 2)
      terminal.err(`To send it again without making it twice, add --idempotency-key ${idempotencyKey}\n`);
    throw error;
  }
}

/** The error with its first problems, under the lines of the file. */
function shortened({ message, code, exitCode, problems, cause }: CliError, input: BatchInput): CliError {
  return new CliError(message, { code, exitCode, problems: shownProblems(problems, input), cause });
}

function shownProblems(problems: readonly FieldProblem[], { linesBefore }: BatchInput): readonly FieldProblem[] {
  const shown = problems.slice(0, PROBLEMS_SHOWN_MAX).map(({ field, message, line }) => ({
    field: line === undefined ? field : `line ${line - linesBefore}, ${field}`,
    message,
  }));
  const more = problems.length - shown.length;
  return more > 0 ? [...shown, { field: "", message: `and ${more} more` }] : shown;
}

async function tellAccepted(
  { problems, ...batch }: BatchAccepted & { readonly problems: readonly LineProblem[] },
  input: BatchInput,
  { wait }: { readonly wait: boolean },
  session: Session,
  { terminal }: CliContext,
): Promise<void> {
  // With --wait the document is the batch as it ended.
  if (session.json) return wait ? undefined : terminal.out(jsonDocument({ ...batch, problems }));
  await terminal.out(`${batch.id}\n`);
  if (batch.replayed) terminal.err("This key was used before: this is the batch of that time.\n");
  if (batch.rejected > 0) {
    terminal.err(`${terminal.errPaint.yellow("left out:")} ${batch.rejected} requests that are not valid\n`);
    printProblems(terminal, shownProblems(problems, input));
  }
  if (!wait && terminal.outIsScreen)
    terminal.err(`${terminal.errPaint.dim(`Watch it: drover batch get ${batch.id.slice(0, 9)}`)}\n`);
}

async function waitToEnd(id: string, signal: AbortSignal, session: Session, context: CliContext): Promise<void> {
  const { terminal } = context;
  const batches = new BatchClient(session.api.target);
  try {
    const batch = await waitForBatch({ batches, id, quiet: session.json, signal }, context);
    context.setExitCode(exitCodeOfBatch(batch));
    if (session.json) return await terminal.out(jsonDocument(batch));
    terminal.err(`${renderSummary(batch).join("\n")}\n`);
    if (batch.counts.failed > 0) terminal.err(`Retry what failed: drover batch retry ${id.slice(0, 9)}\n`);
  } catch (error) {
    const short = id.slice(0, 9);
    if (error instanceof Interrupted)
      terminal.err(`The batch goes on: drover batch get ${short}, or drover batch cancel ${short}\n`);
    throw error;
  }
}
