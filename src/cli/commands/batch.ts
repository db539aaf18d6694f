import { type Command, Option } from "commander";
import type { BatchList, BatchView } from "../../contract/batch.ts";
import { BATCH_STATES } from "../../contract/batch-state.ts";
import { CAUSE_CODES } from "../../contract/causes.ts";
import { LIST_PAGE_DEFAULT, LIST_PAGE_MAX } from "../../contract/limits.ts";
import { choice } from "../choice.ts";
import { BatchClient, type BatchListFilter } from "../client/batch-client.ts";
import { resolveBatchId } from "../client/batch-id.ts";
import { EXIT } from "../exit-codes.ts";
import { newCommand } from "../new-command.ts";
import { wholeNumber } from "../number-option.ts";
import { printProblems } from "../print-error.ts";
import { type BatchScreen, progressText, renderBatch, renderBatchTable } from "../render/batch-text.ts";
import { jsonDocument, openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";
import { batchSubmitCommand } from "./batch-submit.ts";

const LIMIT_MAX = 100_000;
const REFUSED_SHOWN_MAX = 20;

/** `drover batch`, and what can be done with batches. */
export function batchCommand(context: CliContext): Command {
  return newCommand("batch", {
    summary: "ask for many VMs at once, and watch over them",
    about: "Submits many requests as one batch, and lists, shows, cancels and retries batches.",
    examples: ["drover batch submit -f many.ndjson --wait", "drover batch ls", "drover batch retry c0de-8abc"],
  })
    .addCommand(batchSubmitCommand(context))
    .addCommand(lsCommand(context))
    .addCommand(getCommand(context))
    .addCommand(resultsCommand(context))
    .addCommand(cancelCommand(context))
    .addCommand(retryCommand(context));
}

interface LsOptions {
  readonly state?: string;
  readonly owner?: string;
  readonly limit: number;
  readonly quiet?: boolean;
}

function lsCommand(context: CliContext): Command {
  return newCommand("ls", {
    summary: "list batches, newest first",
    examples: ["drover batch ls --state active", "drover batch ls -q | head -1"],
  })
    .alias("list")
    .addOption(
      new Option("-s, --state <state>", "only batches in this state")
        .choices(BATCH_STATES)
        .argParser(choice(BATCH_STATES)),
    )
    .option("--owner <owner>", "only this owner's; an operator else sees everybody's")
    .option("-n, --limit <n>", "at most so many", wholeNumber(1, LIMIT_MAX), LIST_PAGE_DEFAULT)
    .option("-q, --quiet", "only the ids")
    .action(async ({ limit, quiet, ...filter }: LsOptions, command: Command) => {
      const { batches, json } = openBatches(command, context);
      const { terminal } = context;
      const list = await readList(batches, filter, limit);
      if (json) return terminal.out(jsonDocument(list));
      if (quiet === true) return terminal.out(list.items.map(({ id }) => `${id}\n`).join(""));
      if (list.items.length === 0) return terminal.err("There is no batch. Submit one: drover batch submit --help\n");
      await terminal.out(lines(renderBatchTable(list.items, screenOf(context))));
      if (list.next !== null) terminal.err(`These are the newest ${list.items.length}; there are more: --limit N.\n`);
    });
}

async function readList(batches: BatchClient, filter: BatchListFilter, limit: number): Promise<BatchList> {
  const items: BatchView[] = [];
  let next: string | null = null;
  do {
    const page = Math.min(limit - items.length, LIST_PAGE_MAX);
    const list: BatchList = await batches.list({ ...filter, limit: page, ...(next === null ? {} : { cursor: next }) });
    items.push(...list.items);
    next = list.next;
  } while (next !== null && items.length < limit);
  return { items, next };
}

function getCommand(context: CliContext): Command {
  return newCommand("get", {
    summary: "show how a batch fares",
    about: "Shows how many requests of a batch stand where, how fast it goes, and what failed.",
    examples: ["drover batch get c0de-8abc", "drover batch get c0de-8abc --json | jq .counts"],
  })
    .argument("<batch>", "the batch's id, or its first characters")
    .action(async (text: string, _options: object, command: Command) => {
      const { batches, json } = openBatches(command, context);
      const batch = await batches.get(await resolveBatchId(batches, text));
      return context.terminal.out(json ? jsonDocument(batch) : lines(renderBatch(batch, screenOf(context))));
    });
}

function resultsCommand(context: CliContext): Command {
  return newCommand("results", {
    summary: "print what has ended of a batch, a JSON document on each line",
    about:
      "Prints a line of JSON for each request of a batch that has ended by now, in the order of the requests: how it ended, and what its guest handed back.",
    examples: [
      "drover batch results c0de-8abc > results.ndjson",
      "drover batch results c0de-8abc | jq -r .result.text",
    ],
  })
    .argument("<batch>", "the batch's id, or its first characters")
    .action(async (text: string, _options: object, command: Command) => {
      const { batches } = openBatches(command, context);
      const id = await resolveBatchId(batches, text);
      for await (const chunk of await batches.results(id)) await context.terminal.out(chunk);
    });
}

function cancelCommand(context: CliContext): Command {
  return newCommand("cancel", {
    summary: "launch nothing further of a batch and remove its VMs",
    about:
      "Cancels a batch: nothing further of it is launched, at once, and its VMs are removed. A batch that has ended stays as it is.",
    examples: ["drover batch cancel c0de-8abc"],
  })
    .argument("<batch>", "the batch's id, or its first characters")
    .action(async (text: string, _options: object, command: Command) => {
      const { batches, json } = openBatches(command, context);
      const { terminal, now } = context;
      const batch = await batches.cancel(await resolveBatchId(batches, text));
      await terminal.out(json ? jsonDocument(batch) : `${batch.id}  ${batch.outcome ?? batch.state}\n`);
      if (!json) terminal.err(`${progressText(batch, now())}\n`);
    });
}

function retryCommand(context: CliContext): Command {
  return newCommand("retry", {
    summary: "launch the failed VMs of a batch again",
    about:
      "Puts the failed VMs of a batch back into its list, with all their attempts, all or those of one cause. Their secrets are kept for a while for this.",
    examples: ["drover batch retry c0de-8abc", "drover batch retry c0de-8abc --cause boot_timeout"],
  })
    .argument("<batch>", "the batch's id, or its first characters")
    .option("--cause <cause>", "only those that failed with this cause", choice(CAUSE_CODES))
    .action(async (text: string, { cause }: { readonly cause?: string }, command: Command) => {
      const { batches, json } = openBatches(command, context);
      const { terminal } = context;
      const outcome = await batches.retryFailed(await resolveBatchId(batches, text), cause);
      const { retried, refused, batch } = outcome;
      if (refused.length > 0 && retried === 0) context.setExitCode(EXIT.failed);
      if (json) return terminal.out(jsonDocument(outcome));
      await terminal.out(`${batch.id}  ${batch.state}, ${retried} launched again\n`);
      const shown = refused.slice(0, REFUSED_SHOWN_MAX).map(({ vmId, message }) => ({ field: vmId, message }));
      if (refused.length > 0) terminal.err(`${terminal.errPaint.yellow("not these:")}\n`);
      printProblems(terminal, shown);
      if (refused.length > shown.length) terminal.err(`  and ${refused.length - shown.length} more\n`);
    });
}

function openBatches(command: Command, context: CliContext): { readonly batches: BatchClient; readonly json: boolean } {
  const { api, json } = openSession(command, context);
  return { batches: new BatchClient(api.target), json };
}

function screenOf({ terminal, now }: CliContext): BatchScreen {
  return { columns: terminal.columns, paint: terminal.paint, nowMs: now() };
}

function lines(texts: readonly string[]): string {
  return `${texts.join("\n")}\n`;
}
