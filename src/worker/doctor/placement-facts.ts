import { detectMemoryBytes } from "../../qemu/host-memory.ts";
import type { Config } from "../../runtime/config-shape.ts";
import { MemoryRoom, OWN_SIZE } from "../memory-room.ts";

/** A size of memory, and how many VMs of it this machine holds at once; null where memory is not counted. */
interface SizeFacts {
  readonly name: string;
  readonly bytes: number;
  readonly holds: number | null;
}

/** What this machine offers to requests that name it, and what of its memory VMs may have. */
export interface PlacementFacts {
  readonly totalBytes: number;
  readonly reservedBytes: number;
  readonly maxVms: number;
  /** That of a VM which names no class. */
  readonly ownSize: SizeFacts;
  readonly classes: readonly SizeFacts[];
  readonly labels: Readonly<Record<string, string>>;
}

/** Looks, and changes nothing. `rootDir` stands before /proc and /sys. */
export function readPlacementFacts(config: Config, rootDir = "/"): PlacementFacts {
  const { placement, manager } = config;
  const memory = new MemoryRoom(config, detectMemoryBytes(rootDir));
  const { totalBytes, reservedBytes } = memory;
  const ownBytes = memory.sizeOf({})?.bytes ?? 0;
  return {
    totalBytes,
    reservedBytes,
    maxVms: manager.maxVms,
    ownSize: { name: OWN_SIZE, bytes: ownBytes, holds: memory.holds(OWN_SIZE) },
    classes: placement.memoryClasses.map(({ name, bytes }) => ({ name, bytes, holds: memory.holds(name) })),
    labels: placement.hostLabels,
  };
}
