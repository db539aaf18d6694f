import { type Command, Option } from "commander";
import { ROLES, type Role } from "../contract/role.ts";
import { choice } from "./choice.ts";
import { newCommand } from "./new-command.ts";
import { durationMs } from "./number-option.ts";
import type { GlobalOptions } from "./session.ts";
import type { CliContext } from "./terminal.ts";

interface AddFlags {
  readonly owner?: string;
  readonly role: Role;
  readonly expires?: number;
  readonly label?: string;
  readonly certificate?: string;
}

/** `drover token add|ls|rm`: who may use the API. Loads its part when it is called. */
export function tokenCommand(context: CliContext): Command {
  return newCommand("token", {
    summary: "say who may use the API: make, list and remove tokens",
    about:
      "Makes, lists and removes the tokens that the API asks for, and the roles of client certificates. They are kept in Redis, " +
      "so whoever runs this needs the API's DROVER_REDIS_URL. Once one exists, everybody must show one. docs/access.md has more.",
    examples: [
      "drover token add --owner physics --role submitter --expires 720h",
      "drover token ls",
      "drover token rm k3Xw90aB",
    ],
  })
    .addCommand(addCommand(context))
    .addCommand(lsCommand(context))
    .addCommand(rmCommand(context));
}

function addCommand(context: CliContext): Command {
  return tokenPart("add", {
    summary: "make a token and print it, or give a certificate a role",
    about:
      "Makes a token and prints it; nobody can read it again later. A viewer sees the VMs of its owner, a submitter submits and " +
      "removes them, too, and an operator does so for all owners. With --certificate no token is made: clients with a certificate " +
      "of this subject get the role.",
    examples: [
      "drover token add --owner physics --role submitter > physics.token",
      "drover token add --owner ops --role operator --label 'the night shift'",
      'drover token add --certificate "CN=ops,O=example" --role operator',
    ],
  })
    .option("--owner <owner>", "whose VMs it is for; of a certificate else its subject")
    .addOption(new Option("--role <role>", `${ROLES.join(", ")}`).argParser(choice(ROLES)).makeOptionMandatory())
    .option("--expires <time>", 'how long it counts, like "720h"; else until it is removed', durationMs)
    .option("--label <text>", "what it is for, to know it again")
    .option("--certificate <subject>", 'a subject like "CN=ops,O=example", or the PEM file of the certificate')
    .action(async (flags: AddFlags, command: Command) =>
      (await import("./tokens.ts")).addToken(context, {
        owner: flags.owner,
        role: flags.role,
        expiresMs: flags.expires,
        label: flags.label ?? "",
        certificate: flags.certificate,
        json: isJson(command),
      }),
    );
}

function lsCommand(context: CliContext): Command {
  return tokenPart("ls", {
    summary: "list tokens and roles of certificates, never the tokens",
    examples: ["drover token ls", "drover token ls --json | jq '.items[].id'"],
  }).action(async (_flags: object, command: Command) =>
    (await import("./tokens.ts")).listTokens(context, { json: isJson(command) }),
  );
}

function rmCommand(context: CliContext): Command {
  return tokenPart("rm", {
    summary: "remove a token, or the role of a certificate",
    about: "Removes tokens. Within 5 s they count nowhere any more, and within a minute their open streams have ended.",
    examples: ["drover token rm k3Xw90aB"],
  })
    .argument("<token...>", "ids, as `drover token ls` shows them")
    .action(async (ids: readonly string[], _flags: object, command: Command) =>
      (await import("./tokens.ts")).removeTokens(context, ids, { json: isJson(command) }),
    );
}

/** No part of it asks an API: `--url` means nothing here. */
function tokenPart(name: string, options: Parameters<typeof newCommand>[1]): Command {
  return newCommand(name, options).configureHelp({
    visibleGlobalOptions: (command) => (command.parent?.parent?.options ?? []).filter(({ long }) => long === "--json"),
  });
}

function isJson(command: Command): boolean {
  return command.optsWithGlobals<GlobalOptions>().json === true;
}
