import { readFile } from "node:fs/promises";
import { hostDataOf } from "../attestation/host-data.ts";
import { LaunchFailure } from "../contract/causes.ts";
import type { TeeNeed } from "../contract/placement.ts";
import { parseCaseFile } from "../qemu/explain-cocos/case-file.ts";
import { answerAsCocos } from "../qemu/explain-cocos/cocos-answer.ts";
import { decideGpu, decideTee, describeTee, detectGpu, detectTee } from "../qemu/host-detection.ts";
import { maskCommand, shellLine } from "../qemu/shell-quote.ts";
import { exampleValues, vmCommand } from "../qemu/vm-command.ts";
import type { Config } from "../runtime/config-shape.ts";
import { forwardBindOf } from "../runtime/forward-bind.ts";
import { CliError, UsageError } from "./cli-error.ts";
import { EXIT } from "./exit-codes.ts";
import { configFrom } from "./server-setup.ts";
import { jsonLine } from "./session.ts";
import type { CliContext } from "./terminal.ts";

export interface ExplainOptions {
  readonly json: boolean;
  readonly cocos: boolean;
  readonly caseFile: string | undefined;
  readonly result: boolean;
  readonly onReboot: "continue" | "end";
  /** As on a host that gives this; undefined: what this host gives. */
  readonly tee: TeeNeed | undefined;
  readonly gpu: boolean;
}

/** `drover explain`: the QEMU command that a VM would get, or what Cocos's own code makes of a case. */
export async function explain(context: CliContext, options: ExplainOptions): Promise<void> {
  if (options.cocos) return explainCocos(context, options);
  if (options.caseFile !== undefined) throw new UsageError("--case belongs to --cocos", { hint: CASE_USAGE });
  return explainOwn(context, options);
}

const CASE_USAGE = "drover explain --cocos --case FILE --json";

async function explainOwn(context: CliContext, options: ExplainOptions): Promise<void> {
  const { json, result, onReboot } = options;
  const { terminal } = context;
  const config = configFrom(context);
  const tee = options.tee === undefined ? teeOf(config) : { kind: options.tee };
  const gpu = options.gpu && decideGpu(config.qemu.gpu.bdf, detectGpu());
  const example = exampleValues(config, { tee: tee.kind, gpu, forwardBind: forwardBindOf(config) });
  const { binPath, cocos, drover } = vmCommand(config, {
    ...example,
    resultPort: result,
    endOnReboot: onReboot === "end",
    hostData: hostDataOf({}).toString("base64"), // of a request that says nothing
  });
  const gpuText = gpu === false ? null : gpu;
  if (json) return terminal.out(jsonLine({ tee: describeTee(tee), gpu: gpuText, binPath, cocos, drover }));
  const words = [...cocos, ...drover];
  const lines = [
    `# TEE: ${describeTee(tee)}. GPU: ${gpuText ?? "none"}. What differs from VM to VM is an example here.`,
    "# Before -uuid stands the command of Cocos, from there on drover's own layer.",
    [shellLine([binPath]), ...optionLines(maskCommand(words))].join(" \\\n  "),
  ];
  return terminal.out(`${lines.join("\n")}\n`);
}

/** One option with its value on each line. Only for the eye: the words stay what they are. */
function optionLines(words: readonly string[]): readonly string[] {
  const lines: string[][] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last === undefined || word.startsWith("-")) lines.push([word]);
    else last.push(word);
  }
  return lines.map((line) => shellLine(["qemu", ...line]).slice("qemu ".length));
}

function teeOf(config: Config): ReturnType<typeof decideTee> {
  try {
    return decideTee(config.teeWish, detectTee());
  } catch (error) {
    if (!(error instanceof LaunchFailure)) throw error;
    throw new CliError(error.message, { code: error.failure.code, exitCode: EXIT.usage, cause: error });
  }
}

/** A refusal by Cocos is an answer like any other, so the exit code is 0. */
async function explainCocos({ terminal }: CliContext, { json, caseFile }: ExplainOptions): Promise<void> {
  if (caseFile === undefined) throw new UsageError("--cocos needs a case", { hint: CASE_USAGE });
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
