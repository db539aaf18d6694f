import { createLogger } from "../runtime/logger.ts";
import { applyFixes, type FixOutcome } from "../worker/doctor/apply-fix.ts";
import { CHECK_AREAS, type Check, type CheckArea, type Fix } from "../worker/doctor/check.ts";
import { examine, type Patient, withPatient } from "../worker/doctor/examine.ts";
import { UsageError } from "./cli-error.ts";
import { EXIT } from "./exit-codes.ts";
import { withPrivateRedis } from "./private-redis.ts";
import { printable, wrap } from "./render/text-width.ts";
import { configFrom } from "./server-setup.ts";
import { jsonDocument } from "./session.ts";
import type { CliContext, Terminal } from "./terminal.ts";

export interface DoctorOptions {
  readonly json: boolean;
  readonly fix: boolean;
  readonly yes: boolean;
}

const AREA_TITLES: Readonly<Record<CheckArea, string>> = { host: "Host", redis: "Redis", vms: "VMs of this host" };
const COLUMNS_MAX = 80;
const STATUS_CHARS = 9;

/** `drover doctor`: looks and tells; with `fix`, mends what it can, group by group, asking first. */
export async function runDoctor(context: CliContext, options: DoctorOptions): Promise<void> {
  const config = await withPrivateRedis(configFrom(context), context);
  const logger = createLogger({ level: "error", name: "doctor", destination: { write: () => undefined } }); // all is told
  await withPatient({ config, logger }, async (patient) => {
    const checks = await examine(patient);
    if (!options.json) await context.terminal.out(checkText(checks, context.terminal));
    const outcomes = options.fix ? await mend(patient, checks, context, options) : [];
    const left = outcomes.length === 0 ? checks : await examine(patient);
    const problems = count(left, "problem");
    if (options.json) {
      const found = { checks, ...(options.fix ? { fixes: outcomes } : {}), problems };
      await context.terminal.out(jsonDocument(found));
    } else {
      await context.terminal.out(endText({ outcomes, left, asked: options.fix }, context.terminal));
    }
    context.setExitCode(problems === 0 ? EXIT.ok : EXIT.failed);
  });
}

/** What one question is about, and what was done for people to read. */
const FIX_GROUPS: Readonly<Record<Fix["kind"], { ask(count: number): string; one(fix: Fix): string }>> = {
  end_process: {
    ask: (count) => `End ${count === 1 ? "this QEMU" : `these ${count} QEMUs`}?`,
    one: (fix) => (fix.kind === "end_process" ? `QEMU ${fix.pid} of VM ${fix.vmId}` : ""),
  },
  remove_directory: {
    ask: (count) => `Delete the files of ${count === 1 ? "this launch" : `these ${count} launches`}?`,
    one: (fix) => (fix.kind === "remove_directory" ? `vms/${fix.vmId}/${fix.epoch}` : ""),
  },
  give_port: {
    ask: (count) => `Give back ${count === 1 ? "this port" : `these ${count} ports`}?`,
    one: (fix) => (fix.kind === "give_port" ? `port ${fix.port}` : ""),
  },
  set_noeviction: {
    ask: () => "Set maxmemory-policy to noeviction? (redis.conf is yours to change.)",
    one: () => "maxmemory-policy noeviction",
  },
};

async function mend(
  patient: Patient,
  checks: readonly Check[],
  context: CliContext,
  { yes, json }: DoctorOptions,
): Promise<readonly FixOutcome[]> {
  const agreed: Fix[] = [];
  for (const kind of Object.keys(FIX_GROUPS) as Fix["kind"][]) {
    const fixes = checks.flatMap(({ fix }) => (fix?.kind === kind ? [fix] : []));
    const group = FIX_GROUPS[kind];
    if (fixes.length > 0 && (yes || (await isAgreed(group.ask(fixes.length), fixes.map(group.one), context, json))))
      agreed.push(...fixes);
  }
  return agreed.length === 0 ? [] : applyFixes(patient, agreed);
}

async function isAgreed(
  question: string,
  lines: readonly string[],
  { terminal, signal }: CliContext,
  json: boolean,
): Promise<boolean> {
  const list = `\n${lines.map((line) => `  ${printable(line)}\n`).join("")}`;
  const answer = json ? undefined : await terminal.ask(`${list}${question} [y/N] `, signal);
  if (answer === undefined) {
    throw new UsageError("what --fix does must be confirmed, and nobody is here to ask", {
      hint: "Say that you mean it with --yes.",
    });
  }
  return /^y(es)?$/i.test(answer.trim());
}

function checkText(checks: readonly Check[], terminal: Terminal): string {
  const lines = CHECK_AREAS.flatMap((area) => {
    const ofArea = checks.filter((check) => check.area === area);
    return ofArea.length === 0
      ? []
      : [terminal.paint.bold(AREA_TITLES[area]), ...ofArea.flatMap((check) => checkLines(check, terminal)), ""];
  });
  return `${lines.join("\n")}\n`;
}

function checkLines({ status, text, todo }: Check, { paint, columns }: Terminal): readonly string[] {
  const width = Math.min(columns, COLUMNS_MAX) - STATUS_CHARS - 2;
  const colour = { ok: paint.green, warning: paint.yellow, problem: paint.red }[status];
  const told = wrap(printable(text), width);
  const advice = todo === undefined ? [] : wrap(printable(todo), width - 2);
  const indent = " ".repeat(STATUS_CHARS + 2);
  return [
    ...told.map(
      (line, at) => (at === 0 ? `  ${colour(status)}${" ".repeat(STATUS_CHARS - status.length)}` : indent) + line,
    ),
    ...advice.map((line, at) => `${indent}${paint.dim(at === 0 ? "→ " : "  ")}${paint.dim(line)}`),
  ];
}

function endText(
  seen: { outcomes: readonly FixOutcome[]; left: readonly Check[]; asked: boolean },
  { paint, columns }: Terminal,
): string {
  const { outcomes, left, asked } = seen;
  const lines = outcomes.map(({ fix, outcome, why }) => {
    const what = FIX_GROUPS[fix.kind].one(fix);
    if (outcome === "done") return `${paint.green("mended")}   ${what}`;
    if (outcome === "gone") return `nothing to do any more: ${what}`;
    return `${paint.red("failed")}   ${what}: ${why ?? ""}`;
  });
  const problems = count(left, "problem");
  const warnings = count(left, "warning");
  const still = outcomes.length === 0 ? "" : "Now: ";
  lines.push(`${still}${counted(problems, "problem")}, ${counted(warnings, "warning")}.`);
  const fixable = left.filter(({ fix }) => fix !== undefined).length;
  if (fixable > 0 && (!asked || outcomes.length > 0))
    lines.push(`drover doctor --fix mends ${counted(fixable, "of them", "of them")}, asking first.`);
  return `${lines.flatMap((line) => wrap(line, Math.min(columns, COLUMNS_MAX))).join("\n")}\n`;
}

function count(checks: readonly Check[], status: Check["status"]): number {
  return checks.filter((check) => check.status === status).length;
}

function counted(number: number, one: string, many = `${one}s`): string {
  return `${number === 0 ? "no" : number} ${number === 1 ? one : many}`;
}
