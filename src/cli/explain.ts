import { readFile } from "node:fs/promises";
import { parseCaseFile } from "../qemu/explain-cocos/case-file.ts";
import { answerAsCocos } from "../qemu/explain-cocos/cocos-answer.ts";
import { UsageError } from "./cli-error.ts";
import { jsonLine } from "./session.ts";
import type { CliContext } from "./terminal.ts";

export interface ExplainOptions {
  readonly json: boolean;
  readonly cocos: boolean;
  readonly caseFile: string | undefined;
}

/** `drover explain`: the QEMU command that a VM would get, or what Cocos's own code makes of a case. */
export async function explain(context: CliContext, options: ExplainOptions): Promise<void> {
  if (options.cocos) return explainCocos(context, options);
  if (options.caseFile !== undefined)
    throw new UsageError("--case belongs to --cocos", { hint: "drover explain --cocos --case FILE" });
}

/** A refusal by Cocos is an answer like any other, so the exit code is 0. */
async function explainCocos({ terminal }: CliContext, { json, caseFile }: ExplainOptions): Promise<void> {
  if (caseFile === undefined)
    throw new UsageError("--cocos needs a case", { hint: "drover explain --cocos --case FILE" });
  const answer = answerAsCocos(parseCaseFile(await readText(caseFile, terminal)));
  if ("args" in answer) return terminal.out(json ? jsonLine(answer.args) : `${answer.args.join("\n")}\n`);
  return terminal.out(json ? jsonLine(answer) : `Cocos refuses: ${answer.error.message}\n`);
}

async function readText(path: string, terminal: CliContext["terminal"]): Promise<string> {
  try {
    return (path === "-" ? await terminal.readStdin() : await readFile(path)).toString("utf8");
  } catch (error) {
    throw new UsageError(`the case file cannot be read: ${error instanceof Error ? error.message : path}`);
  }
}
