import type { Command } from "commander";
import { CAUSE_CODES } from "../../contract/causes.ts";
import { LIST_PAGE_DEFAULT, LIST_PAGE_MAX } from "../../contract/limits.ts";
import { VM_STATES } from "../../contract/vm-state.ts";
import type { VmList, VmView } from "../../contract/vm-view.ts";
import { choice, choices } from "../choice.ts";
import type { ApiClient, ListFilter } from "../client/api-client.ts";
import { newCommand } from "../new-command.ts";
import { wholeNumber } from "../number-option.ts";
import { renderVmTable } from "../render/vm-table.ts";
import { jsonDocument, openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";

const LIMIT_MAX = 1_000_000;

interface LsOptions extends ListFilter {
  readonly limit: number;
  readonly all?: boolean;
  readonly quiet?: boolean;
}

/** `drover ls`. */
export function lsCommand(context: CliContext): Command {
  return newCommand("ls", {
    summary: "list VMs, newest first",
    examples: [
      "drover ls --state running,ready",
      "drover ls --state failed --cause boot_timeout",
      "drover ls --label team=physics --all",
      "drover rm $(drover ls -q --state queued)",
    ],
  })
    .alias("list")
    .option("-s, --state <states>", `only these: ${VM_STATES.join(", ")}`, choices(VM_STATES))
    .option("--pool <pool>", "only of this pool")
    .option("--host <host>", "only on this host")
    .option("--owner <owner>", "only this owner's; an operator else sees everybody's")
    .option("--cause <cause>", "only failed with this cause", choice(CAUSE_CODES))
    .option(
      "--label <label>",
      "only with this label: name or name=value (repeat it)",
      (text: string, before: readonly string[] | undefined) => [...(before ?? []), text],
    )
    .option("-n, --limit <n>", "at most so many", wholeNumber(1, LIMIT_MAX), LIST_PAGE_DEFAULT)
    .option("-a, --all", "all that there are")
    .option("-q, --quiet", "only the ids, in full")
    .action(async (options: LsOptions, command: Command) => {
      const { api, json } = openSession(command, context);
      const { terminal } = context;
      const { limit, all, quiet, ...filter } = options;
      const list = await readList(api, filter, all === true ? LIMIT_MAX : limit);
      if (json) return terminal.out(jsonDocument(list));
      if (quiet === true) return terminal.out(list.items.map(({ id }) => `${id}\n`).join(""));
      if (list.items.length === 0) return terminal.err(`${nothing(filter)}\n`);
      const screen = { columns: terminal.columns, paint: terminal.paint, nowMs: context.now() };
      await terminal.out(`${renderVmTable(list.items, screen).join("\n")}\n`);
      if (list.next !== null)
        terminal.err(`These are the newest ${list.items.length}; there are more: --limit N or --all.\n`);
    });
}

/** Pages are read until enough VMs are there, so that no limit of the API's shows through. */
async function readList(api: ApiClient, filter: ListFilter, limit: number): Promise<VmList> {
  const items: VmView[] = [];
  let next: string | null = null;
  do {
    const page = Math.min(limit - items.length, LIST_PAGE_MAX);
    const list: VmList = await api.list({ ...filter, limit: page, ...(next === null ? {} : { cursor: next }) });
    items.push(...list.items);
    next = list.next;
  } while (next !== null && items.length < limit);
  return { items, next };
}

function nothing(filter: ListFilter): string {
  return Object.values(filter).some((value) => value !== undefined)
    ? "No VM fits. Without filters: drover ls"
    : "There is no VM yet. Submit one: drover submit --help";
}
