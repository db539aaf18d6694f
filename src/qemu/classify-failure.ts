import type { Cause, CauseCode } from "../contract/causes.ts";
import { FAILURE_PATTERNS, type FailurePattern, type OperatorPaths } from "./failure-patterns.ts";
import { type QemuEnd, TOLD_TO_END } from "./qemu-end.ts";
import type { ExitFacts } from "./qemu-process.ts";

const MESSAGE_MAX_CHARS = 500;
/** Signals by which somebody ends a process on purpose; QEMU catches all but SIGKILL and exits with 0. */
const KILL_SIGNALS = new Set(["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"]);
/** Said at every start, or by a QEMU that goes on. */
const HARMLESS_LINE = /\b(?:warning|info): |char device redirected to|falling back to /;
const OUT_OF_MEMORY = "the kernel killed QEMU because it met its limit of memory (see DROVER_QEMU_MEMORY_OVERHEAD)";
const KVM_LINE = /KVM kernel module|failed to initialize kvm/;

export interface FailureEvidence {
  /** QEMU's or qemu-img's output, its end at least. */
  readonly output: string;
  readonly exit: ExitFacts;
  /** What QEMU printed while it started explains a failed start, not an end hours later. */
  readonly phase: "start" | "run";
  readonly operatorPaths?: OperatorPaths;
  /** Directory of the launch: drover's own business, so it stands as `<vm>` in the message. */
  readonly vmDir?: string;
  /** Takes secrets out of a text. */
  readonly mask?: (text: string) => string;
}

/**
 * The cause of a QEMU or qemu-img that ended by itself, and the line that says so. Pure. To be asked only when the
 * process has ended: a QEMU that falls back from KVM to TCG prints the same lines and runs.
 */
export function classifyFailure(evidence: FailureEvidence): Cause {
  const lines = meaningfulLines(evidence.output);
  const { exitCode, signal } = evidence.exit;
  if (evidence.exit.outOfMemory === true) return cause(evidence, "memory_exhausted", OUT_OF_MEMORY);
  const told = lines.find((line) => TOLD_TO_END.test(line));
  if (signal !== null && KILL_SIGNALS.has(signal)) return cause(evidence, "qemu_killed", `QEMU was ended by ${signal}`);
  if (told !== undefined) return cause(evidence, "qemu_killed", told);
  if (evidence.phase === "start") {
    for (const pattern of FAILURE_PATTERNS) {
      const line = lines.find((text) => fits(pattern, text, evidence));
      if (line !== undefined) return cause(evidence, pattern.cause, line);
    }
    // The shell's and sudo's codes for: cannot be run, not found.
    if (exitCode === 127 || exitCode === 126)
      return cause(evidence, "qemu_missing", lines.at(-1) ?? `exit code ${exitCode}`);
  }
  return cause(evidence, "qemu_crashed", lines.at(-1) ?? `QEMU ended ${howEnded(evidence.exit)} and said nothing`);
}

/**
 * The cause of the end of a VM that had been running, or undefined where the guest ended itself, which is no failure.
 * `output` is QEMU's own. Pure.
 */
export function causeOfEnd(end: QemuEnd, output: string, mask?: (text: string) => string): Cause | undefined {
  switch (end.kind) {
    case "guest-shutdown":
    case "guest-reset":
      return undefined;
    case "guest-panicked":
      return { code: "guest_panic", message: "the guest's kernel panicked" };
    case "internal-error":
      return { code: "qemu_crashed", message: "QEMU stopped the guest with an internal error (status internal-error)" };
    case "exited": {
      const evidence: FailureEvidence = { output, exit: end, phase: "run", ...(mask && { mask }) };
      // Under -no-shutdown QEMU ends with 0 only when somebody told it to.
      if (end.reason?.startsWith("host-") === true || end.exitCode === 0) {
        const told = meaningfulLines(output).find((line) => TOLD_TO_END.test(line));
        const how = end.reason ?? "exit code 0";
        return cause(evidence, "qemu_killed", told ?? `QEMU was told to end from outside drover (${how})`);
      }
      if (end.exitCode === null && end.signal === null) {
        return cause(evidence, "qemu_vanished", meaningfulLines(output).at(-1) ?? "QEMU is gone and left no word");
      }
      return classifyFailure(evidence);
    }
  }
}

function cause({ vmDir, mask }: FailureEvidence, code: CauseCode, line: string): Cause {
  const withoutDir = vmDir === undefined ? line : line.replaceAll(vmDir, "<vm>");
  const masked = mask === undefined ? withoutDir : mask(withoutDir);
  return { code, message: masked.length <= MESSAGE_MAX_CHARS ? masked : `${masked.slice(0, MESSAGE_MAX_CHARS - 1)}…` };
}

/** Lines that may say why it failed, without the program's name before them. */
function meaningfulLines(output: string): readonly string[] {
  const fellBack = /falling back to tcg/i.test(output);
  return output
    .split("\n")
    .map((line) => line.trim().replace(/^(?:\/\S*\/)?qemu[\w.-]*: /, ""))
    .filter((line) => line !== "" && !HARMLESS_LINE.test(line) && !(fellBack && KVM_LINE.test(line)));
}

function fits({ pattern, names, notOwn }: FailurePattern, line: string, evidence: FailureEvidence): boolean {
  if (!pattern.test(line)) return false;
  if (notOwn === true && namesPath(line, evidence.vmDir)) return false;
  return names === undefined || namesPath(line, evidence.operatorPaths?.[names]);
}

function namesPath(line: string, paths: string | readonly string[] | undefined): boolean {
  const all = typeof paths === "string" ? [paths] : (paths ?? []);
  return all.some((path) => path !== "" && line.includes(path));
}

function howEnded({ exitCode, signal }: ExitFacts): string {
  if (signal !== null) return `by ${signal}`;
  return exitCode === null ? "in an unknown way" : `with exit code ${exitCode}`;
}
