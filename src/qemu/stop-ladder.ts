import { within } from "../runtime/bounded-wait.ts";
import { killProcess, waitForDeath } from "../runtime/end-process.ts";
import { isAlive, isStopped, type ProcessIdentity, signalProcess } from "../runtime/process-identity.ts";
import type { ExecuteOptions } from "./qmp-client.ts";

/** How long QEMU may take to say that it heard of the power button. A healthy one needs a millisecond. */
const ACKNOWLEDGE_MS = 1_000;

/** How long each rung may take; 0 leaves it out. SIGKILL follows in any case. */
interface StopBounds {
  readonly powerdownMs: number;
  readonly quitMs: number;
  readonly termMs: number;
}

/**
 * What brought the VM down: `powerdown` when the guest obeyed its power button (QEMU is then told to quit), otherwise
 * the last step that was needed.
 */
type StopRung = "already-dead" | "powerdown" | "quit" | "sigterm" | "sigkill";

export interface StopOutcome {
  readonly rung: StopRung;
  readonly tookMs: number;
}

/** What the ladder needs of a running QEMU. */
export interface StopTarget {
  readonly identity: ProcessIdentity;
  /** Settles when the process is gone. */
  readonly exited: Promise<unknown>;
  /** Settles when the guest is down, whether QEMU still sits there or not. */
  readonly guestDown: Promise<unknown>;
  readonly isGuestDown: () => boolean;
  readonly monitor: {
    readonly isOpen: boolean;
    execute(
      command: "system_powerdown" | "quit",
      args: Record<string, never>,
      options: ExecuteOptions,
    ): Promise<unknown>;
  };
  /** Called before QEMU is told to quit: the last moment in which its ring buffers can be read. */
  readonly beforeQuit: () => Promise<void>;
}

export interface StopOptions {
  readonly bounds: StopBounds;
  /** Once aborted, the guest is not asked or waited for any more: QEMU is told to quit. May come at any time. */
  readonly forced?: AbortSignal;
}

/**
 * Ends a VM step by step: ACPI powerdown, `quit`, SIGTERM, SIGKILL, each with its bound, each left out where it cannot
 * work (guest down already, monitor closed or not answering, process stopped by SIGSTOP). Ends only when the process
 * is proved dead. Takes at most the sum of the bounds and 5 s.
 * Throws ProcessStillAlive when even SIGKILL is not enough (state D), and EPERM when the process is not ours to signal.
 */
export async function descendStopLadder(target: StopTarget, options: StopOptions): Promise<StopOutcome> {
  const startedMs = performance.now();
  const rung = await descend(target, options);
  return { rung, tookMs: performance.now() - startedMs };
}

async function descend(target: StopTarget, { bounds, forced }: StopOptions): Promise<StopRung> {
  const { identity, exited } = target;
  if (!isAlive(identity)) return "already-dead";

  const guest = await askGuest(target, bounds.powerdownMs, forced);
  if (!isAlive(identity)) return guest === "obeyed" ? "powerdown" : "already-dead";

  if (guest !== "monitor-dead" && canAnswer(target) && bounds.quitMs > 0) {
    await target.beforeQuit();
    // The connection closing on us is the usual answer; anything else shows in whether the process dies.
    target.monitor.execute("quit", {}, { timeoutMs: bounds.quitMs }).catch(() => undefined);
    if (await waitForDeath(identity, { timeoutMs: bounds.quitMs, exited }))
      return guest === "obeyed" ? "powerdown" : "quit";
  }

  // QEMU takes SIGTERM as a wish to quit, which a stopped process cannot even read.
  if (bounds.termMs > 0 && !isStopped(identity)) {
    if (!signalProcess(identity, "SIGTERM")) return "already-dead";
    if (await waitForDeath(identity, { timeoutMs: bounds.termMs, exited })) return "sigterm";
  }

  await killProcess(identity);
  return "sigkill";
}

/** Presses the power button and waits for the guest, unless that makes no sense. */
async function askGuest(
  target: StopTarget,
  powerdownMs: number,
  forced: AbortSignal | undefined,
): Promise<"not-asked" | "obeyed" | "ignored" | "monitor-dead"> {
  if (powerdownMs <= 0 || forced?.aborted === true || target.isGuestDown() || !canAnswer(target)) return "not-asked";
  const deadlineMs = performance.now() + powerdownMs;
  try {
    await target.monitor.execute("system_powerdown", {}, { timeoutMs: Math.min(ACKNOWLEDGE_MS, powerdownMs) });
  } catch {
    return "monitor-dead"; // whatever the reason: `quit` would not be heard either
  }
  const down = Promise.race([target.guestDown, target.exited]);
  await within(down, deadlineMs - performance.now(), forced).catch(() => undefined); // forced: no more waiting
  return target.isGuestDown() || !isAlive(target.identity) ? "obeyed" : "ignored";
}

function canAnswer(target: StopTarget): boolean {
  return target.monitor.isOpen && !isStopped(target.identity);
}
