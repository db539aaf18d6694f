import type { SettleTarget } from "../queue/job-claims.ts";
import type { Stores } from "./stores.ts";

/**
 * Gives a job back that was fetched and not launched. A removal that was asked for meanwhile found it fetched and left
 * it to this host: now that it waits again, it is taken out of the queue.
 */
export async function giveBack(
  { claims, launches, store }: Pick<Stores, "claims" | "launches" | "store">,
  job: SettleTarget,
  delayMs: number,
): Promise<void> {
  await claims.giveBack(job, delayMs);
  await heedLateMark({ launches, store }, job.vmId);
}

/** For a VM that has just gone back into the queue: nobody else looks at its mark there. */
export async function heedLateMark(
  { launches, store }: Pick<Stores, "launches" | "store">,
  vmId: string,
): Promise<void> {
  const mark = (await launches.marked([vmId])).get(vmId);
  if (mark !== undefined) await store.requestRemoval({ vmId, reason: mark.reason, by: "drover" });
}
