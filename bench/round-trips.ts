import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";

const IDLE_MS = 5_000;

export interface RoundTrips {
  /** Commands that reached Redis from a client for one VM's life; a script counts once. */
  readonly perVm: number;
  /** The same by command. */
  readonly byCommand: Readonly<Record<string, number>>;
}

/**
 * Counts what clients send to Redis while `work` runs `vms` VMs to their ends, less what they send in an idle time of
 * the same length. MONITOR marks the commands of scripts with `lua`; they cost no round trip.
 */
export async function countRoundTrips(url: string, vms: number, work: () => Promise<void>): Promise<RoundTrips> {
  const client = new Redis(url);
  const monitor = await client.monitor();
  let seen: Record<string, number> = {};
  monitor.on("monitor", (_time: string, args: string[], source: string) => {
    if (source === "lua") return;
    const command = (args[0] ?? "").toLowerCase();
    seen[command] = (seen[command] ?? 0) + 1;
  });
  try {
    await delay(IDLE_MS);
    const idle = seen;
    seen = {};
    const begunMs = performance.now();
    await work();
    const share = (performance.now() - begunMs) / IDLE_MS;
    const byCommand: Record<string, number> = {};
    for (const [command, count] of Object.entries(seen)) {
      const perVm = (count - (idle[command] ?? 0) * share) / vms;
      if (perVm >= 0.05) byCommand[command] = Number(perVm.toFixed(1));
    }
    const perVm = Object.values(byCommand).reduce((sum, count) => sum + count, 0);
    return { perVm: Number(perVm.toFixed(1)), byCommand };
  } finally {
    monitor.disconnect();
    client.disconnect();
  }
}
