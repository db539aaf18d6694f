import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { UsageError } from "../cli-error.ts";
import { resolveVmId } from "../client/vm-id.ts";
import { newCommand } from "../new-command.ts";
import { jsonDocument, openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";

/** First byte of a COSE_Sign1 with its tag. */
const COSE_SIGN1_START = 0xd2;

/** `drover policy ID`. */
export function policyCommand(context: CliContext): Command {
  return newCommand("policy", {
    summary: "get the attestation policy of a VM",
    about:
      "Gets what a verifier shall find in the evidence of a confidential VM's guest: a CoRIM in CBOR, signed where the API " +
      "has a key for it. docs/attestation.md says what it holds and how to check it.",
    examples: ["drover policy 3f2a91c4 -o policy.cbor", "drover policy 3f2a91c4 --json"],
  })
    .argument("<id>", "the VM's id, or its first characters")
    .option("-o, --output <file>", "write it to this file")
    .action(async (text: string, { output }: { readonly output?: string }, command: Command) => {
      const { api, json } = openSession(command, context);
      const { terminal } = context;
      if (output === undefined && !json && terminal.outIsScreen)
        throw new UsageError("a policy is binary", { hint: "Give -o FILE, or --json for base64." });
      const policy = await api.attestationPolicy(await resolveVmId(api, text));
      if (output !== undefined) await writePolicy(output, policy);
      if (json) {
        const base64 = Buffer.from(policy).toString("base64");
        return terminal.out(jsonDocument({ signed: policy[0] === COSE_SIGN1_START, policy: base64 }));
      }
      if (output === undefined) return terminal.out(policy);
    });
}

async function writePolicy(path: string, policy: Uint8Array): Promise<void> {
  try {
    await writeFile(path, policy);
  } catch (error) {
    throw new UsageError(`${path} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
  }
}
