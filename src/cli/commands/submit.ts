import { randomUUID } from "node:crypto";
import type { Command } from "commander";
import { isFinal } from "../../contract/vm-state.ts";
import { submitPatiently } from "../client/submit-patiently.ts";
import { checkKey } from "../idempotency-key.ts";
import { newCommand } from "../new-command.ts";
import { durationMs } from "../number-option.ts";
import { retryTeller } from "../print-error.ts";
import { addRequestFlags } from "../request-flags.ts";
import { requestFromFlags } from "../request-from-flags.ts";
import { checkRequest, type InputRequest, readRequests } from "../request-input.ts";
import { jsonDocument, openSession, type Session } from "../session.ts";
import { type SubmitPlan, submitMany } from "../submit-many.ts";
import { SubmitWarnings } from "../submit-warnings.ts";
import type { CliContext } from "../terminal.ts";
import { limitedSignal } from "../wait-limit.ts";
import { WaitReport } from "../wait-report.ts";

interface SubmitOptions extends Readonly<Record<string, unknown>> {
  readonly file?: string;
  readonly wait?: boolean;
  readonly timeout?: number;
  readonly idempotencyKey?: string;
}

/** `drover submit`. */
export function submitCommand(context: CliContext): Command {
  const command = newCommand("submit", {
    summary: "ask for a VM, or for many",
    about:
      "Asks for a VM. Prints its id and ends; with --wait shows how it fares and ends with it. Every request is sent with an " +
      "idempotency key, so that a lost answer never makes two VMs. Fields of a file are overridden by flags.",
    examples: [
      "drover submit --server-url 10.0.0.7:7001 --ttl 90m",
      "drover submit --wait --result --name first --label team=physics",
      "drover submit -f request.json --priority high",
      "drover submit -f many.ndjson --label batch=7     # one request on each line",
      "drover submit --client-key key.pem --client-crt cert.pem --server-ca ca.pem",
      "pass show kbs | drover submit --aa-kbs-params-file -",
    ],
  })
    .option("-f, --file <file>", 'a JSON request, or one on each line; "-" reads standard input')
    .option("-w, --wait", "until it has ended; the exit code tells how (docs/cli.md)")
    .option("--timeout <duration>", "wait no longer than this (exit code 5)", durationMs)
    .option("--idempotency-key <key>", "submitting again with this key gives the same VM");
  addRequestFlags(command);
  return command.action(async (options: SubmitOptions, self: Command) => {
    const flags = await requestFromFlags(options, context);
    const requests =
      options.file === undefined
        ? [{ line: undefined, request: checkRequest({}, flags, "this") }]
        : await readRequests(options.file, flags, context);
    const plan = { wait: options.wait === true, idempotencyKey: checkKey(options.idempotencyKey) ?? randomUUID() };
    const session = openSession(self, context, limitedSignal(context.signal, options.timeout));
    const [only] = requests;
    if (only !== undefined && only.line === undefined) return submitOne(only, plan, session, context);
    return submitMany(requests, plan, session, context);
  });
}

async function submitOne(
  { request }: InputRequest,
  plan: SubmitPlan,
  session: Session,
  context: CliContext,
): Promise<void> {
  const { terminal } = context;
  const { api, json } = session;
  const report = plan.wait ? await WaitReport.open(session, context) : undefined;
  const onRetry = retryTeller(terminal, { json });
  const vm = await submitPatiently(api, { request, idempotencyKey: plan.idempotencyKey, onRetry });
  if (json && report === undefined) return terminal.out(jsonDocument(vm));
  if (!json) await terminal.out(`${vm.id}\n`);
  if (!json) new SubmitWarnings(terminal).tell(vm);
  if (vm.replayed) terminal.err("This key was used before: this is the VM of that request.\n");
  if (report === undefined) {
    if (terminal.outIsScreen && !isFinal(vm.state))
      terminal.err(`${terminal.errPaint.dim(`Watch it: drover get ${vm.id.slice(0, 8)}`)}\n`);
    return;
  }
  await report.untilEnd(vm);
}
