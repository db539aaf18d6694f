import type { Command } from "commander";
import type { HostDetail } from "../../contract/host-view.ts";
import { CliError, UsageError } from "../cli-error.ts";
import { newCommand } from "../new-command.ts";
import { renderHost } from "../render/host-detail.ts";
import { type HostScreen, renderForgotten, renderHostTable } from "../render/host-text.ts";
import { printable } from "../render/text-width.ts";
import { jsonDocument, openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";
import { hostWishCommands } from "./host-wishes.ts";

/** `drover hosts [HOST]`, and what can be wanted of one. */
export function hostsCommand(context: CliContext): Command {
  const hosts = newCommand("hosts", {
    summary: "list hosts, show one, let it take VMs or not",
    about:
      "Lists the hosts that have a worker, or had one: which of them live, whether they take VMs, how many they have, and what becomes of those when the host is lost. With a host's id: all that is known of it.",
    examples: ["drover hosts", "drover hosts host-a", "drover hosts drain host-a --wait"],
  })
    .argument("[host]", "the host's id")
    .action(async (id: string | undefined, _options: object, command: Command) => {
      if (id !== undefined) return show(id, command, context);
      const { api, json } = openSession(command, context);
      const { terminal } = context;
      const list = await api.hosts();
      if (json) return terminal.out(jsonDocument(list));
      if (list.items.length === 0) return terminal.err("There is no host yet. Start a worker on one: drover worker\n");
      return terminal.out(lines(renderHostTable(list.items, screenOf(context))));
    });
  hosts.addCommand(getCommand(context));
  for (const command of hostWishCommands(context)) hosts.addCommand(command);
  return hosts.addCommand(forgetCommand(context));
}

function getCommand(context: CliContext): Command {
  return newCommand("get", {
    summary: "show all that is known of one host",
    about: "Shows all that is known of a host, as `drover hosts HOST` does.",
    examples: ["drover hosts get host-a", "drover hosts get host-a --json | jq .admission"],
  })
    .alias("describe")
    .argument("<host>", "the host's id")
    .action(async (id: string, _options: object, command: Command) => show(id, command, context));
}

async function show(id: string, command: Command, context: CliContext): Promise<void> {
  const { api, json } = openSession(command, context);
  const host = await api.host(id);
  return context.terminal.out(json ? jsonDocument(host) : lines(renderHost(host, screenOf(context))));
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
