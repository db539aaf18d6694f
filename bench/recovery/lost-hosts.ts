import { setTimeout as delay } from "node:timers/promises";
import type { EventTap } from "../event-tap.ts";
import type { Fleet, Host } from "./fleet.ts";

const LOOK_MS = 100;
const PATIENCE_MS = 300_000;

export interface LostHosts {
  /** From the kill until `GET /v1/vms/ID` says `unreachable`. */
  readonly shownMs: number[];
  /** From when the host counts as lost (its last sign of life and its patience) until its VM runs elsewhere. */
  readonly elsewhereMs: number[];
  /** From the kill until then. */
  readonly sinceKillMs: number[];
}

/** Kills the workers of several hosts at once, each with one VM. */
export async function measureLostHosts(
  { fleet, tap }: { fleet: Fleet; tap: EventTap },
  hosts: readonly Host[],
  vmIds: readonly string[],
  afterMs: number,
): Promise<LostHosts> {
  const lost: LostHosts = { shownMs: [], elsewhereMs: [], sinceKillMs: [] };
  tap.forget();
  await Promise.all(
    hosts.map(async (host, index) => {
      const vmId = vmIds[index] ?? "";
      // Not all at one moment of their leases.
      await delay(index * 1_700);
      const running = tap.arrival(vmId, "vm.running", PATIENCE_MS);
      const killedMs = await host.kill();
      const view = () => fleet.get<{ hostStatus: string | null }>(`/v1/vms/${vmId}`);
      while ((await view()).hostStatus !== "unreachable") await delay(LOOK_MS);
      lost.shownMs.push(performance.now() - killedMs);
      const { silentSince } = await fleet.get<{ silentSince: string }>(`/v1/hosts/${host.id}`);
      const deadlineMs = performance.now() + (Date.parse(silentSince) + afterMs - Date.now());
      const runsMs = await running;
      lost.elsewhereMs.push(runsMs - deadlineMs);
      lost.sinceKillMs.push(runsMs - killedMs);
    }),
  );
  return lost;
}
