import type { Command } from "commander";
import { newCommand } from "./new-command.ts";
import { addRequestFlags } from "./request-flags.ts";
import type { GlobalOptions } from "./session.ts";
import type { CliContext } from "./terminal.ts";

/** `drover hostdata`. Loads its part when it is called. */
export function hostDataCommand(context: CliContext): Command {
  const command = newCommand("hostdata", {
    summary: "compute the host data that a request's guest gets",
    about:
      "Computes the host data that an SEV-SNP guest of a request gets and shows in its attestation reports: the SHA-256 digest of " +
      "the request without its secrets. Takes the options of `drover submit`, asks nobody, and prints hex.",
    examples: [
      "drover hostdata --server-url 10.0.0.7:7001 --ttl 90m",
      "drover hostdata -f request.json --base64",
      "drover hostdata -f request.json --text | openssl dgst -sha256",
    ],
  })
    .option("-f, --file <file>", 'a JSON request, or one on each line; "-" reads standard input')
    .option("--base64", "as QEMU has it, instead of hex")
    .option("--text", "the text whose digest it is, instead of the digest");
  addRequestFlags(command);
  return command.action(async (options: HostDataFlags, self: Command) => {
    const { json } = self.optsWithGlobals<GlobalOptions>();
    return (await import("./host-data.ts")).showHostData(context, { ...options, json: json === true });
  });
}

export interface HostDataFlags extends Readonly<Record<string, unknown>> {
  readonly file?: string;
  readonly base64?: boolean;
  readonly text?: boolean;
}
