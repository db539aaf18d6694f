import type { Arbitrary } from "fast-check";
import { casesOf, type FuzzCase } from "./fuzz-case.ts";
import { grpcBytes } from "./grpc-bytes.ts";
import { grpcCalls, SIGN_OF_LIFE } from "./grpc-calls.ts";
import { httpBytes } from "./http-bytes.ts";
import { httpRequests } from "./http-requests.ts";
import type { Outcome } from "./outcome.ts";
import { sendBytes } from "./send-bytes.ts";
import { CallSender } from "./send-call.ts";
import type { Target, TargetState } from "./start-target.ts";

export interface FuzzOptions {
  readonly target: Target;
  readonly seed: number;
  readonly count: number;
  /** VMs that Redis knows under the target's prefix. */
  readonly countVms: () => Promise<number>;
}

export interface FuzzResult {
  readonly sent: number;
  /** How often each status was the first answer; `cut` is a connection closed without one. */
  readonly answers: Readonly<Record<string, number>>;
  /** Requests that were right by chance and made a VM. */
  readonly accepted: number;
  readonly vms: number;
  /** The memory is compared from this input on. */
  readonly warmUp: number;
  readonly before: TargetState;
  readonly after: TargetState;
  /** What should not have happened, each with how to repeat it. */
  readonly findings: readonly string[];
}

/** Inputs on their way at the same time. */
const AT_ONCE = 16;
const BATCH = 480;
const SHOWN_BYTES = 200;
/** Allocators keep what the first inputs took at once, and caches fill: memory is compared from here on, or from half. */
const WARM_UP_MAX = 20_000;
/** On a machine that is busy with other things Redis may seem away for a moment; such an input is left out. */
const AWAY = "503";
const AWAY_SHARE = 1_000;

/** Of a process that has ended, which is a finding of its own. */
const GONE: TargetState = { rssBytes: 0, heapBytes: 0, failures: [] };

const KINDS: readonly { readonly weight: number; readonly name: string; readonly cases: Arbitrary<FuzzCase> }[] = [
  { weight: 9, name: "HTTP requests", cases: httpRequests },
  { weight: 5, name: "HTTP bytes", cases: httpBytes },
  { weight: 5, name: "gRPC calls", cases: grpcCalls },
  { weight: 1, name: "gRPC bytes", cases: grpcBytes },
];

/** Sends so many inputs to the target and judges every answer. Stops early when the target has ended. */
export async function runFuzz(options: FuzzOptions): Promise<FuzzResult> {
  const { target, seed, count, countVms } = options;
  const answers: Record<string, number> = {};
  const findings: string[] = [];
  const seen = new Set<string>();
  let accepted = 0;
  let sent = 0;
  const senders = Array.from({ length: AT_ONCE }, () => new CallSender(target.grpcPort));
  const fuzz = async (from: number, size: number) => {
    const batch = mixedCases(seed, from, size);
    const queue = batch.values();
    const one = async (sender: CallSender) => {
      for (const { origin, fuzzCase } of queue) {
        const outcome = await send(fuzzCase, { target, sender });
        sent++;
        answers[outcome.answer] = (answers[outcome.answer] ?? 0) + 1;
        accepted += outcome.accepted;
        const wrong = judge(fuzzCase, outcome);
        if (wrong === undefined || seen.has(`${fuzzCase.what}: ${wrong}`)) continue;
        seen.add(`${fuzzCase.what}: ${wrong}`);
        findings.push(`${origin} (${fuzzCase.what}): ${wrong}\n${shown(fuzzCase, outcome)}`);
      }
    };
    await Promise.all(senders.map(one));
    if (target.exit === undefined) await assertAlive(target);
    else findings.push(`the API: ${target.exit}, after inputs up to ${from + size}`);
  };
  const warmUp = Math.min(WARM_UP_MAX, Math.floor(count / 2));
  let before: TargetState | undefined;
  for (let from = 0; from < count && target.exit === undefined; from += BATCH) {
    if (from >= warmUp) before ??= await target.state();
    await fuzz(from, Math.min(BATCH, count - from));
  }
  for (const sender of senders) sender.close();
  const after = target.exit === undefined ? await target.state() : GONE;
  const away = answers[AWAY] ?? 0;
  if (away > count / AWAY_SHARE) findings.push(`Redis seemed away ${away} times`);
  const vms = await countVms();
  if (vms < accepted || vms > accepted + away)
    findings.push(`${accepted} requests were accepted, but Redis knows ${vms} VMs`);
  findings.push(...after.failures.map((line) => `the API logged an error: ${line}`));
  return { sent, answers, accepted, vms, warmUp, before: before ?? after, after, findings };
}

function mixedCases(seed: number, from: number, size: number): { origin: string; fuzzCase: FuzzCase }[] {
  const weights = KINDS.reduce((sum, { weight }) => sum + weight, 0);
  let begin = from;
  return KINDS.flatMap(({ name, weight, cases }, i) => {
    const end = i === KINDS.length - 1 ? from + size : begin + Math.round((size * weight) / weights);
    const made = casesOf(cases, { seed, from: begin, count: end - begin });
    const first = begin;
    begin = end;
    return made.map((fuzzCase, j) => ({ origin: `${name}, input ${first + j} of seed ${seed}`, fuzzCase }));
  });
}

/** Throws unless both listeners answer as ever. */
async function assertAlive(target: Target): Promise<void> {
  const sender = new CallSender(target.grpcPort);
  const { answer, text } = await sender.send(SIGN_OF_LIFE);
  sender.close();
  if (answer !== "grpc 0") throw new Error(`the gRPC listener answers no more: ${text}`);
  const { status } = await fetch(`http://127.0.0.1:${target.httpPort}/health`);
  if (status !== 200) throw new Error(`the HTTP listener answers no more: ${status}`);
}

async function send(
  fuzzCase: FuzzCase,
  { target, sender }: { readonly target: Target; readonly sender: CallSender },
): Promise<Outcome> {
  if (fuzzCase.call !== undefined) return sender.send(fuzzCase);
  return sendBytes(fuzzCase.protocol === "grpc" ? target.grpcPort : target.httpPort, fuzzCase);
}

/** What is wrong with an answer; undefined when nothing is. */
function judge({ kind }: FuzzCase, { answer, hung, failure, refused }: Outcome): string | undefined {
  if (hung) return "no end";
  if (failure !== undefined) return answer === AWAY ? undefined : failure;
  return kind === "malformed" && !refused ? `taken as right: ${answer}` : undefined;
}

function shown({ bytes, call }: FuzzCase, { text }: Outcome): string {
  const head = call === undefined ? "" : `${JSON.stringify(call)} `;
  return `  sent: ${head}${JSON.stringify(bytes.toString("latin1").slice(0, SHOWN_BYTES))}\n  got: ${JSON.stringify(text.slice(0, SHOWN_BYTES))}`;
}
