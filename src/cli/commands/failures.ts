import type { Command } from "commander";
import { CAUSE_CODES } from "../../contract/causes.ts";
import type { FailureGroup, FailuresRetried } from "../../contract/failure-view.ts";
import { choice } from "../choice.ts";
import { CliError, UsageError } from "../cli-error.ts";
import type { ApiClient } from "../client/api-client.ts";
import { EXIT } from "../exit-codes.ts";
import { newCommand } from "../new-command.ts";
import { durationMs } from "../number-option.ts";
import { renderFailures } from "../render/failure-text.ts";
import { printable } from "../render/text-width.ts";
import { jsonDocument, openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";

/** The same reason is not told of thousands of VMs. */
const REFUSALS_SHOWN = 10;

interface GroupOptions {
  readonly cause?: string;
  readonly host?: string;
  readonly owner?: string;
}

interface ListOptions extends GroupOptions {
  readonly since?: number;
}

/** `drover failures`, `drover failures retry` and `drover failures dismiss`. */
export function failuresCommand(context: CliContext): Command {
  const list = withFilter(
    newCommand("failures", {
      summary: "what failed, by cause and host; retry or dismiss it",
      about:
        "Lists failed VMs by cause and host, with what to do about each cause. FAILED are VMs that nobody has retried, dismissed or removed; RETRYABLE those of them whose secrets are kept still; AGAIN are VMs of which a launch failed so and that drover has launched again by itself.",
      examples: [
        "drover failures",
        "drover failures --since 1h --host host-a",
        "drover failures retry --cause kernel_missing",
        "drover failures dismiss --cause guest_panic --host host-a",
      ],
    }),
  );
  return list
    .option("--since <time>", 'only failures of the last "90s", "10m", "24h"', durationMs)
    .action(async ({ since, ...filter }: ListOptions, command: Command) => {
      const { api, json } = openSession(command, context);
      const { terminal, now } = context;
      const from = since === undefined ? {} : { since: new Date(now() - since).toISOString() };
      const failures = await api.failures({ ...filter, ...from });
      if (json) return terminal.out(jsonDocument(failures));
      if (failures.items.length === 0) return terminal.err("There is no failure that needs attention.\n");
      const screen = { columns: terminal.columns, paint: terminal.paint, nowMs: now() };
      await terminal.out(`${renderFailures(failures.items, screen).join("\n")}\n`);
    })
    .addCommand(retryCommand(context))
    .addCommand(dismissCommand(context));
}

function withFilter(command: Command): Command {
  return command
    .option("--cause <cause>", "only with this cause", choice(CAUSE_CODES))
    .option("--host <host>", "only on this host")
    .option("--owner <owner>", "only this owner's; an operator else means everybody's");
}

function retryCommand(context: CliContext): Command {
  return withFilter(
    newCommand("retry", {
      summary: "put the failed VMs of a group back into the queue",
      about:
        "Puts failed VMs back into the queue, each with all its attempts: those with a cause, on a host, or both. A VM whose secrets are deleted by now cannot be retried; it is named, and the exit code is 1.",
      examples: ["drover failures retry --cause kernel_missing", "drover failures retry --host host-a"],
    }),
  ).action(async (_options: object, command: Command) => {
    const { api, json } = openSession(command, context);
    const { terminal } = context;
    const { groups, owner } = await chosenGroups(api, command);
    let retried = 0;
    const refused: FailuresRetried["refused"] = [];
    for (const { id } of groups.filter(({ failed }) => failed > 0)) {
      for await (const step of steps((cursor) => api.retryFailures(id, { owner, cursor }))) {
        retried += step.retried;
        refused.push(...step.refused);
      }
    }
    if (refused.length > 0) context.setExitCode(EXIT.failed);
    if (json) return terminal.out(jsonDocument({ retried, refused }));
    for (const { vmId, code, message } of refused.slice(0, REFUSALS_SHOWN))
      terminal.err(`${vmId}  ${code}: ${printable(message)}\n`);
    if (refused.length > REFUSALS_SHOWN) terminal.err(`... and ${refused.length - REFUSALS_SHOWN} more\n`);
    await terminal.out(`${retried} retried${refused.length === 0 ? "" : `, ${refused.length} refused`}\n`);
  });
}

function dismissCommand(context: CliContext): Command {
  return withFilter(
    newCommand("dismiss", {
      summary: "say that failures need no more attention",
      about:
        "Takes failures off the list: those with a cause, on a host, or both. The VMs themselves stay as they are, and one that fails anew is on the list again.",
      examples: ["drover failures dismiss --cause guest_panic"],
    }),
  ).action(async (_options: object, command: Command) => {
    const { api, json } = openSession(command, context);
    const { groups, owner } = await chosenGroups(api, command);
    let dismissed = 0;
    for (const { id } of groups)
      for await (const step of steps((cursor) => api.dismissFailures(id, { owner, cursor })))
        dismissed += step.dismissed;
    await context.terminal.out(json ? jsonDocument({ dismissed }) : `${dismissed} dismissed\n`);
  });
}

/** The groups that the options mean. Throws where they mean all that there are, or none. */
async function chosenGroups(
  api: ApiClient,
  command: Command,
): Promise<{ readonly groups: readonly FailureGroup[]; readonly owner: string | undefined }> {
  // An option before the command's name is the list's.
  const { cause, host, owner } = command.optsWithGlobals<GroupOptions>();
  if (cause === undefined && host === undefined) {
    throw new UsageError("say which failures are meant: --cause, --host, or both", {
      hint: "`drover failures` lists them.",
    });
  }
  const { items } = await api.failures({ cause, host, owner });
  if (items.length === 0)
    throw new CliError("no failure fits", { code: "failure_group_not_found", exitCode: EXIT.notFound });
  return { groups: items, owner };
}

/** A group is gone through in steps, each where the one before has ended. */
async function* steps<T extends { readonly next: string | null }>(
  step: (cursor: string | undefined) => Promise<T>,
): AsyncGenerator<T> {
  for (let cursor: string | undefined, isLast = false; !isLast; ) {
    const done = await step(cursor);
    yield done;
    cursor = done.next ?? undefined;
    isLast = done.next === null;
  }
}
