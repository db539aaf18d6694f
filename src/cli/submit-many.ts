import { isFinal } from "../contract/vm-state.ts";
import type { VmAccepted, VmDetail } from "../contract/vm-view.ts";
import { CliError } from "./cli-error.ts";
import { VmFollower } from "./client/follow-vms.ts";
import { submitPatiently } from "./client/submit-patiently.ts";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { inOrder } from "./in-order.ts";
import { Interrupted } from "./interrupted.ts";
import { printError, retryTeller } from "./print-error.ts";
import { paintState } from "./render/paint.ts";
import type { InputRequest } from "./request-input.ts";
import { jsonLine, type Session } from "./session.ts";
import { SubmitWarnings } from "./submit-warnings.ts";
import type { CliContext } from "./terminal.ts";
import { exitCodeOfEnd } from "./wait-report.ts";

/** What of the options is no field of the request. */
export interface SubmitPlan {
  readonly wait: boolean;
  readonly idempotencyKey: string;
}

const CALLS_AT_ONCE = 8;

/** Of the ends of many VMs the worst is told. */
const WORST_FIRST: readonly ExitCode[] = [EXIT.unreachable, EXIT.failed, EXIT.usage, EXIT.endedEarly, EXIT.ok];

/**
 * Submits one request for each line. A line that the API refuses does not spare the others; an API that is gone ends it.
 * Each line has the key of the whole with its number, so that running the same command again with that key submits only
 * what is missing.
 */
export async function submitMany(
  requests: readonly InputRequest[],
  plan: SubmitPlan,
  session: Session,
  context: CliContext,
): Promise<void> {
  const onRetry = retryTeller(context.terminal, session);
  const outcome = new ManyOutcome(requests.length, plan, session, context);
  try {
    const follower = plan.wait ? await VmFollower.open(session.api, { onEnd: (vm) => outcome.ended(vm) }) : undefined;
    const submitted = inOrder(requests, CALLS_AT_ONCE, async (input) => {
      const idempotencyKey = `${plan.idempotencyKey}/${input.line}`;
      return submitPatiently(session.api, { request: input.request, idempotencyKey, onRetry }).then(
        (vm) => ({ input, vm }),
        (error: unknown) => ({ input, error }),
      );
    });
    for await (const one of submitted) {
      if ("error" in one) {
        outcome.refused(one.input, one.error);
        continue;
      }
      await outcome.accepted(one.vm);
      await follower?.add(one.vm.id, { look: one.vm.replayed || isFinal(one.vm.state) });
    }
    await follower?.untilAllEnded();
  } catch (error) {
    outcome.tellHowToGoOn(error);
    throw error;
  }
  outcome.finish();
}

/** Who is refused once is refused for every line. */
const CALLER_REFUSED = new Set(["unauthenticated", "forbidden"]);

class ManyOutcome {
  readonly #total: number;
  readonly #plan: SubmitPlan;
  readonly #session: Session;
  readonly #context: CliContext;
  readonly #exitCodes = new Set<ExitCode>();
  readonly #warnings: SubmitWarnings;
  #acceptedCount = 0;
  #refusedCount = 0;
  #endedCount = 0;

  constructor(total: number, plan: SubmitPlan, session: Session, context: CliContext) {
    this.#total = total;
    this.#plan = plan;
    this.#session = session;
    this.#context = context;
    this.#warnings = new SubmitWarnings(context.terminal);
  }

  async accepted(vm: VmAccepted): Promise<void> {
    this.#acceptedCount += 1;
    // With --wait the JSON lines are the VMs as they ended; ids of what was accepted would be a second kind of line.
    if (this.#session.json) return this.#plan.wait ? undefined : this.#context.terminal.out(jsonLine(vm));
    this.#warnings.tell(vm);
    return this.#context.terminal.out(`${vm.id}\n`);
  }

  refused({ line }: InputRequest, error: unknown): void {
    if (!(error instanceof CliError) || error.exitCode === EXIT.unreachable || CALLER_REFUSED.has(error.code))
      throw error;
    this.#refusedCount += 1;
    this.#exitCodes.add(error.exitCode);
    const { code, exitCode, problems, hint } = error;
    const told = new CliError(`line ${line}: ${error.message}`, {
      code,
      exitCode,
      problems,
      ...(hint === undefined ? {} : { hint }),
    });
    printError(this.#context.terminal, told, { json: this.#session.json });
  }

  async ended(vm: VmDetail): Promise<void> {
    this.#endedCount += 1;
    this.#exitCodes.add(exitCodeOfEnd(vm.state));
    const { terminal } = this.#context;
    if (this.#session.json) return terminal.out(jsonLine(vm));
    const count = `${this.#endedCount}/${this.#acceptedCount}`.padStart(9);
    const note = vm.cause?.code ?? (vm.result?.exitCode == null ? "" : `exit code ${vm.result.exitCode}`);
    terminal.err(`${count}  ${vm.id}  ${paintState(terminal.errPaint, vm.state)}  ${note}`.trimEnd().concat("\n"));
  }

  finish(): void {
    const worst = WORST_FIRST.find((code) => this.#exitCodes.has(code));
    if (worst !== undefined) this.#context.setExitCode(worst);
    if (this.#session.json) return;
    const refused = this.#refusedCount === 0 ? "" : `, ${this.#refusedCount} refused`;
    this.#context.terminal.err(`${this.#acceptedCount} of ${this.#total} accepted${refused}.\n`);
  }

  tellHowToGoOn(error: unknown): void {
    if (this.#session.json || !(error instanceof CliError || error instanceof Interrupted)) return;
    this.#context.terminal.err(
      `${this.#acceptedCount} of ${this.#total} accepted. To go on without making any twice, run the same again with\n` +
        `  --idempotency-key ${this.#plan.idempotencyKey}\n`,
    );
  }
}
