import type { Command } from "commander";
import { newCommand } from "../new-command.ts";
import { jsonDocument, openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";

/** `drover version`. */
export function versionCommand(context: CliContext, own: { readonly version: string; readonly node: string }): Command {
  return newCommand("version", {
    summary: "show the version, with --api that of the API, too",
    examples: ["drover version --api"],
  })
    .option("--api", "ask the API for its version")
    .action(async (options: { readonly api?: boolean }, command: Command) => {
      const { api, json } = openSession(command, context);
      const health = options.api === true ? await api.health() : undefined;
      if (json)
        return context.terminal.out(jsonDocument({ version: own.version, node: own.node, api: health ?? null }));
      await context.terminal.out(`drover ${own.version} (Node.js ${own.node})\n`);
      if (health !== undefined)
        await context.terminal.out(`API    ${health.version} at ${api.target.baseUrl.origin}\n`);
    });
}
