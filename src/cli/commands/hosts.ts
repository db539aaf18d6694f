import type { Command } from "commander";
import type { HostDetail } from "../../contract/host-view.ts";
import { CliError, UsageError } from "../cli-error.ts";
import { newCommand } from "../new-command.ts";
import { type HostScreen, renderForgotten, renderHost, renderHostTable } from "../render/host-text.ts";
import { printable } from "../render/text-width.ts";
import { jsonDocument, openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";

/** `drover hosts [HOST]` and `drover hosts forget HOST`. */
export function hostsCommand(context: CliContext): Command {
  return newCommand("hosts", {
    summary: "list hosts, show one, or forget one that is gone",
    about:
      "Lists the hosts that have a worker, or had one: which of them live, how many VMs they have, and what becomes of those when the host is lost. With a host's id: all that is known of it.",
    examples: ["drover hosts", "drover hosts host-a", "drover hosts forget host-a"],
  })
    .argument("[host]", "the host's id")
    .action(async (id: string | undefined, _options: object, command: Command) => {
      const { api, json } = openSession(command, context);
      const { terminal } = context;
      if (id !== undefined) {
        const host = await api.host(id);
        return terminal.out(json ? jsonDocument(host) : lines(renderHost(host, screenOf(context))));
      }
      const list = await api.hosts();
      if (json) return terminal.out(jsonDocument(list));
      if (list.items.length === 0) return terminal.err("There is no host yet. Start a worker on one: drover worker\n");
      return terminal.out(lines(renderHostTable(list.items, screenOf(context))));
    })
    .addCommand(forgetCommand(context));
}

function forgetCommand(context: CliContext): Command {
  return newCommand("forget", {
    summary: "say that a host is gone for good: its VMs go elsewhere",
    about:
      "Says that a host is gone for good and that nothing runs on it any more. Its VMs go back into the queue and are launched elsewhere; those whose removal was asked for are removed, which nobody has verified then. If the host does live on after all, a VM may run twice until the host is back and stops its own copy. Refused while the host shows that it lives.",
    examples: ["drover hosts forget host-a", "drover hosts forget host-a --yes"],
  })
    .argument("<host>", "the host's id")
    .option("-y, --yes", "do not ask first")
    .action(async (id: string, options: { readonly yes?: boolean }, command: Command) => {
      const { api, json } = openSession(command, context);
      const { terminal } = context;
      if (options.yes !== true) await confirm(await api.host(id), context);
      const forgotten = await api.forgetHost(id);
      return terminal.out(json ? jsonDocument(forgotten) : lines(renderForgotten(forgotten)));
    });
}

/** Nobody should give a host up by a slip; a program says that it means it. */
async function confirm(host: HostDetail, { terminal, signal }: CliContext): Promise<void> {
  const then =
    host.vms === 0 ? "" : `, and may ${host.vms === 1 ? "its VM" : `its ${host.vms} VMs`} be launched elsewhere`;
  const question = `Does nothing run on ${printable(host.id)} any more${then}? [y/N] `;
  const answer = await terminal.ask(question, signal);
  if (answer === undefined) {
    throw new UsageError(`to forget host ${host.id} must be confirmed, and nobody is here to ask`, {
      hint: "Say that you mean it with --yes.",
    });
  }
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError("nothing was done", { code: "not_confirmed" });
}

function screenOf({ terminal, now }: CliContext): HostScreen {
  return { columns: terminal.columns, paint: terminal.paint, nowMs: now() };
}

function lines(texts: readonly string[]): string {
  return `${texts.join("\n")}\n`;
}
