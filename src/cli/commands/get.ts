import type { Command } from "commander";
import { CliError } from "../cli-error.ts";
import { resolveVmId } from "../client/vm-id.ts";
import { newCommand } from "../new-command.ts";
import { renderForensics } from "../render/forensics-text.ts";
import { printable } from "../render/text-width.ts";
import { renderVmDetail } from "../render/vm-detail.ts";
import { jsonDocument, openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";

interface GetOptions {
  readonly command?: boolean;
  readonly forensics?: boolean;
}

/** `drover get ID`. */
export function getCommand(context: CliContext): Command {
  return newCommand("get", {
    summary: "show all that is known of one VM",
    examples: [
      "drover get 3f2a91c4",
      "drover get 3f2a91c4 --json",
      "drover get 3f2a91c4 --command",
      "drover get 3f2a91c4 --forensics",
    ],
  })
    .argument("<id>", "the VM's id, or its first characters")
    .option("--command", "only the QEMU command of the last launch, to paste into a shell")
    .option("--forensics", "what is kept of its failed launches: commands, files, last lines")
    .action(async (text: string, options: GetOptions, command: Command) => {
      const { api, json } = openSession(command, context);
      const { terminal } = context;
      const vm = await api.get(await resolveVmId(api, text));
      if (options.command === true) {
        if (vm.command === null)
          throw new CliError("this VM was not launched yet, so there is no command", { code: "no_command" });
        return terminal.out(`${json ? JSON.stringify({ command: vm.command }) : printable(vm.command)}\n`);
      }
      if (options.forensics === true) {
        const launches = vm.forensics ?? [];
        if (json) return terminal.out(jsonDocument(launches));
        if (launches.length === 0) return terminal.err("No launch of this VM has failed, as far as is kept.\n");
        const { columns, paint } = terminal;
        const lines = renderForensics(launches, { columns, paint, latestOnly: false }).slice(1);
        return terminal.out(`${lines.join("\n")}\n`);
      }
      if (json) return terminal.out(jsonDocument(vm));
      const screen = { columns: terminal.columns, paint: terminal.paint, nowMs: context.now() };
      return terminal.out(`${renderVmDetail(vm, screen).join("\n")}\n`);
    });
}
