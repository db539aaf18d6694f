import { HostWish, type WishInForce } from "../contract/host-wish.ts";

/** A wish as Redis holds it. One that cannot be read is a newer version's: whatever it is, the host takes no VM. */
export function readWish(text: string | null, atMs: string | number | null): WishInForce | undefined {
  if (text === null || text === "") return undefined;
  return { ...(parse(text) ?? UNREADABLE), atMs: Number(atMs) };
}

const UNREADABLE: HostWish = { kind: "cordoned", by: "unknown", note: null, timeoutMs: null };

function parse(text: string): HostWish | undefined {
  try {
    return HostWish.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
