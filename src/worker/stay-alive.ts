import type { Logger } from "pino";
import type { RedisClient } from "../queue/connection.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { Scope } from "../runtime/scope.ts";
import { uptimeMs } from "./guard/uptime.ts";
import type { GuardKeeper } from "./guard-keeper.ts";
import type { LaunchFiles } from "./launch-files.ts";
import type { LeaseKeeper, RenewalHooks } from "./lease-keeper.ts";
import { Repeat } from "./repeat.ts";

export interface StayAliveDeps extends Pick<RenewalHooks, "isTurning" | "onWish"> {
  readonly config: Config;
  readonly redis: RedisClient;
  readonly lease: LeaseKeeper;
  readonly guard: GuardKeeper;
  readonly files: Pick<LaunchFiles, "list">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Shows from now on that this host lives: to the others by its lease, to its guard by the deadline. When the scope closes
 * before the worker has left by itself, because its start failed or was given up, it leaves as a stopped one does: the
 * VMs of the worker before it may run here.
 */
export function stayAlive(scope: Scope, deps: StayAliveDeps): void {
  const { config, redis, lease, guard, files, clock, logger, isTurning, onWish } = deps;
  scope.own(lease, async () => {
    if (lease.hasLeft) return;
    const left = await files.list().then(
      (launches) => launches.length,
      () => 1, // where the disk cannot be read there may be some
    );
    await leaveHost({ lease, guard, left, awayMaxMs: config.hostLost.awayMaxMs, logger });
  });
  lease.start({ isTurning, stamp: uptimeMs, onRenewed: (sinceMs) => void guard.noteRenewal(sinceMs), onWish });
  const guardRepeat = new Repeat({
    what: "moving the guard's deadline",
    intervalMs: config.lease.renewMs,
    // While Redis is away the loop waits for it, for as long as that takes: it does not hang.
    step: async () => (isTurning() || redis.status !== "ready" ? guard.noteTurn() : undefined),
    clock,
    logger,
  });
  scope.own(guardRepeat, (repeat) => repeat.stop());
}

/** The others are told whether VMs are left here, and the guard whether it is still needed. */
export async function leaveHost(options: {
  readonly lease: Pick<LeaseKeeper, "leave">;
  readonly guard: Pick<GuardKeeper, "dismiss" | "leave">;
  /** VMs that have something on this host. */
  readonly left: number;
  readonly awayMaxMs: number;
  readonly logger: Logger;
}): Promise<void> {
  const { lease, guard, left, awayMaxMs, logger } = options;
  const sinceMs = uptimeMs();
  const isAway = await lease.leave(left === 0 ? 0 : awayMaxMs);
  try {
    if (left === 0) await guard.dismiss();
    else if (isAway) await guard.leave(sinceMs);
  } catch (error) {
    logger.error({ err: error }, "the guard could not be told; it ends the VMs when its deadline passes");
  }
}
