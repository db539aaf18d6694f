import type { Command } from "commander";
import { TAIL_MAX_BYTES } from "../../contract/limits.ts";
import { resolveVmId } from "../client/vm-id.ts";
import { newCommand } from "../new-command.ts";
import { wholeNumber } from "../number-option.ts";
import { ConsoleFilter } from "../render/console-text.ts";
import { openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";

interface ConsoleOptions {
  readonly follow?: boolean;
  readonly bytes?: number;
  readonly raw?: boolean;
}

/** `drover console ID`. */
export function consoleCommand(context: CliContext): Command {
  return newCommand("console", {
    summary: "show what the guest writes to its console",
    about:
      "Shows the last lines of a guest's console, of a VM that has ended as well. On a screen, control sequences other " +
      "than colours are left out: the guest is a stranger. Into a file or pipe the bytes go as they are.",
    examples: ["drover console 3f2a91c4", "drover console -f 3f2a91c4", "drover console 3f2a91c4 > boot.log"],
  })
    .argument("<id>", "the VM's id, or its first characters")
    .option("-f, --follow", "go on until the VM has ended")
    .option("--bytes <n>", `begin with the last n bytes (at most ${TAIL_MAX_BYTES})`, wholeNumber(0, TAIL_MAX_BYTES))
    .option("--raw", "every byte to the screen, too")
    .action(async (text: string, options: ConsoleOptions, command: Command) => {
      const { api } = openSession(command, context);
      const { terminal } = context;
      const filter = terminal.outIsScreen && options.raw !== true ? new ConsoleFilter() : undefined;
      const id = await resolveVmId(api, text);
      for await (const chunk of api.console(id, { follow: options.follow === true, bytes: options.bytes })) {
        await terminal.out(filter === undefined ? chunk : filter.push(chunk));
      }
    });
}
