import { spawn } from "node:child_process";
import { once } from "node:events";
import { findLaunchesOf } from "../../src/qemu/process-scan.ts";
import type { EventTap } from "../event-tap.ts";
import type { Host } from "./fleet.ts";

/** Kills the QEMUs of these VMs, one after the other; how long each time until a reader of the events knows. */
export async function measureDeaths(host: Host, vmIds: readonly string[], tap: EventTap): Promise<number[]> {
  const pids = new Map(findLaunchesOf(host.stateDir).map(({ uuid, pid }) => [uuid, pid]));
  const waits: number[] = [];
  for (const vmId of vmIds) {
    const pid = pids.get(vmId);
    if (pid === undefined) throw new Error(`VM ${vmId} does not live`);
    const told = tap.arrival(vmId, "vm.failed");
    const atMs = performance.now();
    process.kill(pid, "SIGKILL");
    waits.push((await told) - atMs);
  }
  return waits;
}

/** The floor: how soon Node hears that a child of its own was killed. */
export async function measureBareDeaths(count: number): Promise<number[]> {
  const waits: number[] = [];
  for (let i = 0; i < count; i++) {
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    await once(child, "spawn");
    const exited = once(child, "exit");
    const atMs = performance.now();
    child.kill("SIGKILL");
    await exited;
    waits.push(performance.now() - atMs);
  }
  return waits;
}
