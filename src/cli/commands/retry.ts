import type { Command } from "commander";
import { resolveVmId } from "../client/vm-id.ts";
import { newCommand } from "../new-command.ts";
import { paintState } from "../render/paint.ts";
import { jsonDocument, openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";

/** `drover retry ID`. */
export function retryCommand(context: CliContext): Command {
  return newCommand("retry", {
    summary: "put a failed VM back into the queue",
    about: "Puts a failed VM back into the queue, with all its attempts. Its secrets are kept for a while for this.",
    examples: ["drover retry 3f2a91c4"],
  })
    .argument("<id>", "the VM's id, or its first characters")
    .action(async (text: string, _options: object, command: Command) => {
      const { api, json } = openSession(command, context);
      const { terminal } = context;
      const vm = await api.retry(await resolveVmId(api, text));
      return terminal.out(json ? jsonDocument(vm) : `${vm.id}  ${paintState(terminal.paint, vm.state)}\n`);
    });
}
