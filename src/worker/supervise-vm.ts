import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { parseGoDurationMs } from "../contract/go-duration.ts";
import { causeOfEnd } from "../qemu/classify-failure.ts";
import type { ConsoleWatch } from "../qemu/console-watch.ts";
import type { QemuEnd } from "../qemu/qemu-end.ts";
import { waitForTcpBytes } from "../qemu/readiness.ts";
import type { RunningQemu } from "../qemu/running-qemu.ts";
import { readOutputs } from "../qemu/vm-outputs.ts";
import type { LaunchStore } from "../queue/launch-store.ts";
import type { VmStore } from "../queue/vm-store.ts";
import type { Config } from "../runtime/config-shape.ts";
import { linkSignals } from "../runtime/link-signals.ts";
import type { LaunchEnd } from "./end-plan.ts";
import type { Launch } from "./launch.ts";
import { moveVm } from "./move-vm.ts";
import type { StopReason, StopRequest } from "./stop-request.ts";

/** setTimeout takes no longer wait. */
const TIMER_MAX_MS = 2 ** 31 - 1;
const TTL_RETRY_MS = 200;
const NEVER = new Promise<never>(() => undefined);

export interface SuperviseDeps {
  readonly config: Config;
  readonly launches: LaunchStore;
  readonly store: VmStore;
  readonly logger: Logger;
  /** Where forwarded ports are bound; undefined: on all interfaces. */
  readonly forwardBind: string | undefined;
  /** Under which address clients reach this host. */
  readonly address: string;
}

export interface Supervised {
  readonly launch: Launch;
  readonly qemu: RunningQemu;
  readonly stop: StopRequest;
  /** Sees the console from the first byte on; there when the request's probe looks for a text. */
  readonly watch: ConsoleWatch | undefined;
  /** Takes the VM's secrets out of a text. */
  readonly mask: (text: string) => string;
  /** Called once the VM is up: running, and ready where a probe was asked for. */
  readonly onBooted: () => void;
}

/** From `running` to the end of the guest, however that comes. The process itself is ended by the caller. */
export async function superviseVm(deps: SuperviseDeps, vm: Supervised): Promise<LaunchEnd> {
  const { qemu, stop } = vm;
  const over = new AbortController();
  const ttl = fireTtl(deps, vm, over.signal);
  const ready = becomeReady(deps, vm, over.signal);
  try {
    const stopped = new Promise<"stop">((resolve) => {
      if (stop.signal.aborted) resolve("stop");
      else stop.signal.addEventListener("abort", () => resolve("stop"), { once: true });
    });
    const failed = ready.then(() => NEVER); // a probe that answered ends nothing; a refused move ends the launch
    const first = await Promise.race([qemu.ended, stopped, failed]);
    if (first !== "stop") return await endOf(qemu, first, vm.mask);
    return await stopVm(deps, vm);
  } finally {
    over.abort();
    await Promise.allSettled([ttl, ready]);
  }
}

async function stopVm(deps: SuperviseDeps, { launch, qemu, stop }: Supervised): Promise<LaunchEnd> {
  const reason: StopReason = stop.reason ?? "released";
  const { host, epoch } = launch.identity;
  const move = {
    to: "stopping",
    event: { type: "vm.stopping", data: { host, epoch, reason } },
    progress: { reason },
  } as const;
  // Refused only when the launch is not ours any more: then stopping is right all the same. Nor does it wait for Redis.
  const published = moveVm(deps, { launch, stop }, move).catch((error) =>
    deps.logger.warn({ err: error, vmId: launch.identity.vmId }, "the record could not be moved to stopping"),
  );
  await qemu.stop({ bounds: deps.config.stop, forced: stop.forced });
  await published;
  if (reason !== "boot_timeout") return { kind: "stopped", reason };
  return {
    kind: "failure",
    cause: { code: "boot_timeout", message: `not up within ${launch.spec.bootTimeout ?? "the boot deadline"}` },
  };
}

/** A guest that ended itself is no failure; everything else has a cause, for which QEMU's own output is looked at. */
async function endOf(qemu: RunningQemu, end: QemuEnd, mask: (text: string) => string): Promise<LaunchEnd> {
  // Only an exit is explained by what QEMU printed; a file that cannot be read must not turn a good end into a failure.
  const output =
    end.kind === "exited"
      ? await readOutputs(qemu.paths).then(
          (read) => read.qemu,
          () => "",
        )
      : "";
  const cause = causeOfEnd(end, output, mask);
  if (cause === undefined)
    return { kind: "guest_ended", reason: end.kind === "guest-reset" ? "guest_reset" : "guest_shutdown" };
  return { kind: "failure", cause };
}

async function becomeReady(deps: SuperviseDeps, vm: Supervised, over: AbortSignal): Promise<void> {
  const { launch, stop, watch, onBooted } = vm;
  const { probe = { type: "none" } } = launch.spec;
  if (probe.type === "none") return onBooted();
  // Bounded by the boot deadline, where there is one, and by the end of the VM: both come as aborts.
  const ended = linkSignals([over, stop.signal]);
  const wait = { timeoutMs: TIMER_MAX_MS, signal: ended.signal };
  const target = { host: deps.forwardBind ?? "127.0.0.1", port: launch.port ?? 0 };
  try {
    const readyMs = Math.round(await (watch === undefined ? waitForTcpBytes(target, wait) : watch.wait(wait)));
    onBooted();
    const { host, epoch } = launch.identity;
    const data = { host, epoch, readyMs };
    await moveVm(deps, vm, {
      to: "ready",
      fields: { readyAtMs: String(Date.now()) },
      event: { type: "vm.ready", data },
      progress: { address: `${deps.address}:${launch.port}`, readyMs },
    });
  } catch (error) {
    if (over.aborted || stop.signal.aborted) return; // the VM ended or is being stopped before it was ready
    throw error;
  } finally {
    ended.release();
  }
}

/** The TTL is an absolute deadline, kept across launches. The removal mark that it writes stops the VM. */
async function fireTtl(
  { store, logger }: SuperviseDeps,
  { launch, stop }: Supervised,
  over: AbortSignal,
): Promise<void> {
  if (launch.spec.ttl === undefined) return;
  const { vmId } = launch.identity;
  const deadlineAtMs = launch.deadlineAtMs ?? Date.now() + parseGoDurationMs(launch.spec.ttl);
  while (!over.aborted) {
    const leftMs = deadlineAtMs - Date.now();
    if (leftMs <= 0) {
      try {
        const { kind } = await store.requestRemoval({ vmId, reason: "ttl", by: "drover" });
        if (kind !== "not_due") return stop.ask("ttl"); // by Redis's clock, which all hosts share
      } catch (error) {
        logger.warn({ err: error, vmId }, "the end of a VM's time could not be written; it is tried again");
      }
    }
    await delay(leftMs > 0 ? Math.min(leftMs, TIMER_MAX_MS) : TTL_RETRY_MS, undefined, {
      signal: over,
      ref: false,
    }).catch(() => undefined); // over: the loop ends
  }
}
