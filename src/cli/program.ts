import { type Command, Option } from "commander";
import { DEFAULT_URL } from "./client/api-url.ts";
import { batchCommand } from "./commands/batch.ts";
import { completionCommand } from "./commands/completion.ts";
import { consoleCommand } from "./commands/console.ts";
import { eventsCommand } from "./commands/events.ts";
import { failuresCommand } from "./commands/failures.ts";
import { getCommand } from "./commands/get.ts";
import { hostsCommand } from "./commands/hosts.ts";
import { lsCommand } from "./commands/ls.ts";
import { policyCommand } from "./commands/policy.ts";
import { retryCommand } from "./commands/retry.ts";
import { rmCommand } from "./commands/rm.ts";
import { submitCommand } from "./commands/submit.ts";
import { versionCommand } from "./commands/version.ts";
import { exitCodeLines } from "./exit-codes.ts";
import { hostDataCommand } from "./host-data-command.ts";
import { keyCommand } from "./key-commands.ts";
import { newCommand } from "./new-command.ts";
import { serverCommands } from "./server-commands.ts";
import type { CliContext } from "./terminal.ts";
import { tokenCommand } from "./token-commands.ts";

const HELP_COLUMNS_MAX = 80;

/** The whole command line. Builds it only: nothing is read or started before `parseAsync`. */
export function createProgram(context: CliContext, own: { readonly version: string; readonly node: string }): Command {
  const program = newCommand("drover", {
    summary: "runs QEMU virtual machines as durable jobs",
    about:
      "drover runs QEMU virtual machines as durable jobs: a request waits in a queue, a worker boots it, watches it to its end and keeps its result.",
    examples: [
      "drover up                                  # everything on this machine",
      "drover submit --wait --ttl 10m             # one VM, followed to its end",
      "drover ls --state running,ready",
      "drover console --follow 3f2a91c4",
    ],
  })
    .usage("<command> [options]")
    .option("--url <url>", `the API to talk to (else DROVER_URL, else ${DEFAULT_URL})`)
    .option("--json", "for programs: JSON instead of text; errors, too")
    .addOption(new Option("--stack", "where an unexpected error comes from").hideHelp())
    .version(`drover ${own.version}`, "-V, --version", "show the version");
  program.commandsGroup("On this machine:");
  for (const command of serverCommands(context)) program.addCommand(command);
  program.addCommand(keyCommand(context));
  program.addCommand(tokenCommand(context));
  program.addCommand(hostDataCommand(context));
  program.commandsGroup("Talk to an API:");
  const ofVms = [submitCommand, lsCommand, getCommand, rmCommand, retryCommand, consoleCommand, eventsCommand];
  for (const define of [...ofVms, batchCommand, policyCommand, failuresCommand, hostsCommand])
    program.addCommand(define(context));
  program.commandsGroup("More:");
  program.addCommand(versionCommand(context, own));
  program.addCommand(completionCommand(context, () => program));
  program.helpCommand("help [command]", "show the help of a command");
  program.addHelpText(
    "after",
    `\nExit codes:\n${exitCodeLines().join("\n")}\n\nEvery command has its own help: drover submit --help`,
  );
  for (const command of withSubcommands(program)) writeTo(command, context);
  return program;
}

function withSubcommands(command: Command): readonly Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

function writeTo(command: Command, { terminal }: CliContext): void {
  const columns = () => Math.min(terminal.columns, HELP_COLUMNS_MAX);
  command.configureOutput({
    writeOut: (text) => void terminal.out(text),
    writeErr: (text) => terminal.err(text),
    outputError: () => undefined,
    getOutHelpWidth: columns,
    getErrHelpWidth: columns,
  });
}
