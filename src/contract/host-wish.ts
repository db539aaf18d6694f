import { z } from "zod";

/**
 * What an operator wants of a host.
 *
 * - `open`: it takes VMs.
 * - `cordoned`: it takes no new VM; those that it has run on.
 * - `draining`: as `cordoned`, on the way to a host without VMs: they end by themselves. With a timeout, what is left
 *   after it is evacuated.
 * - `evacuating`: as `cordoned`, and its VMs are stopped and go back to the queue, as far as another host can take them.
 */
export const HOST_WISHES = ["open", "cordoned", "draining", "evacuating"] as const;
export type HostWishKind = (typeof HOST_WISHES)[number];

/** A wish as it stands in Redis, beside what the host says of itself. */
export const HostWish = z.object({
  kind: z.enum(HOST_WISHES),
  by: z.string(),
  note: z.string().nullable(),
  /** Of `draining`: what is left after this time is evacuated; null: nothing is. */
  timeoutMs: z.int().nullable(),
});
export type HostWish = z.infer<typeof HostWish>;

/** A wish with when it was said, by Redis's clock. */
export interface WishInForce extends HostWish {
  readonly atMs: number;
}

/** Whether the host is to take new VMs; undefined: nobody has said anything. */
export function isWantedOpen(wish: Pick<HostWish, "kind"> | undefined): boolean {
  return wish === undefined || wish.kind === "open";
}

/** When a drain turns into an evacuation; undefined: it does not. */
export function evacuatesAtMs({ kind, atMs, timeoutMs }: WishInForce): number | undefined {
  return kind === "draining" && timeoutMs !== null ? atMs + timeoutMs : undefined;
}

/** Whether VMs are to be stopped now, so that they run elsewhere. */
export function isEvacuating(wish: WishInForce, nowMs: number): boolean {
  return wish.kind === "evacuating" || nowMs >= (evacuatesAtMs(wish) ?? Number.POSITIVE_INFINITY);
}
