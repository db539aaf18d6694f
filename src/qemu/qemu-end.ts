import { z } from "zod";
import type { QmpEvent } from "./qmp-protocol.ts";

/**
 * How a VM ended.
 *
 * - `guest-shutdown`, `guest-reset` (only where QEMU was told to end on a reboot), `guest-panicked`: the guest is down
 *   and, because of `-no-shutdown`, QEMU sits there with the guest's last output until it is stopped.
 * - `internal-error`: QEMU cannot run the guest on (KVM refused to); it sits there as well.
 * - `exited`: QEMU is gone. Exit code and signal are null when it was not our child. `reason` is what QEMU gave for
 *   shutting down before it went (`host-signal`, `host-qmp-quit`), null when it went without a word. `outOfMemory` when
 *   the kernel killed it for meeting the limit of its memory.
 */
export type QemuEnd =
  | { readonly kind: "guest-shutdown" }
  | { readonly kind: "guest-reset" }
  | { readonly kind: "guest-panicked" }
  | { readonly kind: "internal-error" }
  | {
      readonly kind: "exited";
      readonly exitCode: number | null;
      readonly signal: string | null;
      readonly reason: string | null;
      readonly outOfMemory?: true;
    };

/** What QEMU prints when a signal asks it to end. */
export const TOLD_TO_END = /terminating on signal \d+/;

const Shutdown = z.object({ guest: z.boolean(), reason: z.string() });
const Panicked = z.object({ action: z.string() });

/** The end that an event tells of, or undefined when the guest goes on. Pure. */
export function endOfEvent(event: QmpEvent): QemuEnd | undefined {
  if (event.name === "GUEST_PANICKED") {
    const panic = Panicked.safeParse(event.data);
    // With action `run` QEMU lets a panicked guest go on: it may be writing its crash dump.
    return panic.success && panic.data.action === "run" ? undefined : { kind: "guest-panicked" };
  }
  if (event.name !== "SHUTDOWN") return undefined;
  const shutdown = Shutdown.safeParse(event.data);
  if (!shutdown.success || !shutdown.data.guest) return undefined; // asked for from outside: the exit follows
  if (shutdown.data.reason === "guest-reset") return { kind: "guest-reset" };
  if (shutdown.data.reason === "guest-panic") return { kind: "guest-panicked" };
  return { kind: "guest-shutdown" };
}

/** Why QEMU says that it shuts down, when it was not the guest's doing. Pure. */
export function hostShutdownReason(event: QmpEvent): string | undefined {
  if (event.name !== "SHUTDOWN") return undefined;
  const shutdown = Shutdown.safeParse(event.data);
  return shutdown.success && !shutdown.data.guest ? shutdown.data.reason : undefined;
}

/**
 * The end that a status of `query-status` shows to who has missed the event, or undefined when the guest goes on.
 * `shutdown` does not say whether the guest powered off or rebooted. Pure.
 */
export function endOfStatus(status: string): QemuEnd | undefined {
  if (status === "shutdown") return { kind: "guest-shutdown" };
  if (status === "guest-panicked") return { kind: "guest-panicked" };
  if (status === "internal-error") return { kind: "internal-error" };
  return undefined;
}
