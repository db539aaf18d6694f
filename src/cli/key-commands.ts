import type { Command } from "commander";
import { newCommand } from "./new-command.ts";
import type { GlobalOptions } from "./session.ts";
import type { CliContext } from "./terminal.ts";

interface KeyFlags {
  readonly file?: string;
  readonly id?: string;
  readonly force?: boolean;
}

const FILE = "--file <file>";
const FILE_ABOUT = "the key file (else DROVER_SECRETS_KEY_FILE, else that of `drover up`)";

/** `drover key new|add|use|rm|ls|reseal`: the keys that secrets are sealed with. Loads its part when it is called. */
export function keyCommand(context: CliContext): Command {
  return newCommand("key", {
    summary: "make and change the keys that secrets are sealed with",
    about:
      "Makes and changes the keys that secrets are sealed with before they reach Redis. The first key of a file seals, all of " +
      "them open. API and workers see a changed file by themselves; docs/keys.md has the steps for a fleet.",
    examples: ["drover key new --file /etc/drover/secrets.key", "drover key ls", "drover key reseal"],
  })
    .addCommand(newKeyCommand(context))
    .addCommand(addCommand(context))
    .addCommand(useCommand(context))
    .addCommand(lsCommand(context))
    .addCommand(resealCommand(context))
    .addCommand(rmCommand(context));
}

function newKeyCommand(context: CliContext): Command {
  return keyPart("new", {
    summary: "make a key: print it, or put it first into a file",
    about:
      "Makes a random key. Without --file it is printed as a line id:base64, which whoever reads it can open secrets with. With " +
      "--file it becomes the file's first key, the one that seals, and the others still open; a file that is not there is made.",
    examples: ["drover key new --file /etc/drover/secrets.key", "drover key new --id y2027 > new.key"],
  })
    .option("--id <name>", "its name, 1 to 32 letters, digits, dashes or underscores (else a random one)")
    .option(FILE, "put it first into this file instead of printing it")
    .action(async ({ id, file }: KeyFlags, command: Command) =>
      (await import("./keys.ts")).newKey(context, { id, file, json: isJson(command) }),
    );
}

function addCommand(context: CliContext): Command {
  return keyPart("add", {
    summary: "add a key that opens and does not seal",
    about: "Adds a key, read from the standard input, behind those of the file: it opens what another seals with it.",
    examples: ["drover key add --file /etc/drover/secrets.key < new.key"],
  })
    .option(FILE, FILE_ABOUT)
    .action(async ({ file }: KeyFlags, command: Command) =>
      (await import("./keys.ts")).addKey(context, { file, json: isJson(command) }),
    );
}

function useCommand(context: CliContext): Command {
  return keyPart("use", {
    summary: "let another key of the file seal",
    examples: ["drover key use y2027"],
  })
    .argument("<key>", "the key's id")
    .option(FILE, FILE_ABOUT)
    .action(async (id: string, { file }: KeyFlags, command: Command) =>
      (await import("./keys.ts")).useKey(context, id, { file, json: isJson(command) }),
    );
}

function lsCommand(context: CliContext): Command {
  return keyPart("ls", { summary: "list the ids of the keys, never the keys", examples: ["drover key ls"] })
    .option(FILE, FILE_ABOUT)
    .action(async ({ file }: KeyFlags, command: Command) =>
      (await import("./keys.ts")).listKeys(context, { file, json: isJson(command) }),
    );
}

function resealCommand(context: CliContext): Command {
  return keyPart("reseal", {
    summary: "seal every box in Redis with the key that seals now",
    about:
      "Opens every sealed box in Redis and seals it with the first key, in small steps and while VMs are submitted and launched. " +
      "Afterwards no box needs the older keys. It may be stopped and done again. It ends with 1 where a box cannot be opened.",
    examples: ["drover key reseal"],
  })
    .option(FILE, FILE_ABOUT)
    .action(async ({ file }: KeyFlags, command: Command) =>
      (await import("./keys.ts")).resealAll(context, { file, json: isJson(command) }),
    );
}

function rmCommand(context: CliContext): Command {
  return keyPart("rm", {
    summary: "take a key out that nothing needs any more",
    about:
      "Takes a key out of the file. Refused for the key that seals, and while a box in Redis was sealed with it: seal those " +
      "again first (`drover key reseal`).",
    examples: ["drover key rm y2026"],
  })
    .argument("<key>", "the key's id")
    .option(FILE, FILE_ABOUT)
    .option("--force", "without asking Redis: boxes of this key can never be opened again")
    .action(async (id: string, { file, force }: KeyFlags, command: Command) =>
      (await import("./keys.ts")).removeKey(context, id, { file, force: force === true, json: isJson(command) }),
    );
}

/** No part of it asks an API: `--url` means nothing here. */
function keyPart(name: string, options: Parameters<typeof newCommand>[1]): Command {
  return newCommand(name, options).configureHelp({
    visibleGlobalOptions: (command) => (command.parent?.parent?.options ?? []).filter(({ long }) => long === "--json"),
  });
}

function isJson(command: Command): boolean {
  return command.optsWithGlobals<GlobalOptions>().json === true;
}
