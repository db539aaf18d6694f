import { parsePlacementPool } from "../contract/placement.ts";
import type { Tee } from "../contract/qemu-config.ts";
import type { VmSpec } from "../contract/vm-request.ts";
import type { GpuSlot } from "./gpu-slot.ts";
import { type MemoryRoom, OWN_SIZE } from "./memory-room.ts";
import { vmTee } from "./vm-hardware.ts";

/** What a VM has of its host, from its launch to its very end. */
export interface Holder {
  readonly spec: VmSpec;
  readonly gpu: string | false;
  /** Undefined where the worker that launched it did not note it. */
  readonly memoryBytes: number | undefined;
}

/** What is left on a host for VMs to come. Null: without a limit of its own. */
export interface Room {
  readonly slots: number | null;
  readonly ports: number;
  /** Keys for confidential VMs. */
  readonly teeKeys: number | null;
  readonly memoryBytes: number | null;
  /** Sizes of memory of which one more VM fits, by their names. */
  readonly sizes: ReadonlySet<string>;
  /** PCI address of the GPU, or false where no VM can have it now. */
  readonly gpu: string | false;
}

export interface HostRoomDeps {
  /** 0 or less: no limit by number. */
  readonly maxVms: number;
  readonly memory: MemoryRoom;
  readonly tee: Tee;
  /** How many confidential VMs the hardware has keys for; undefined: nobody knows. */
  readonly teeKeys?: number | undefined;
  readonly gpu: Pick<GpuSlot, "freeFor">;
  readonly freePorts: number;
}

/** Everything that bounds how many VMs a host runs, looked at together. */
export function roomBeside(deps: HostRoomDeps, holders: readonly Holder[]): Room {
  const { maxVms, memory, tee, teeKeys, gpu, freePorts } = deps;
  const held = holders.map(({ memoryBytes, spec }) => memoryBytes ?? memory.sizeOf(spec)?.bytes ?? 0);
  const withKey = holders.filter(({ spec }) => vmTee(spec, tee).kind !== "none").length;
  return {
    slots: maxVms <= 0 ? null : Math.max(0, maxVms - holders.length),
    ports: freePorts,
    teeKeys: teeKeys === undefined ? null : Math.max(0, teeKeys - withKey),
    memoryBytes: memory.freeBytes(held),
    sizes: memory.fitting(held),
    gpu: gpu.freeFor(holders),
  };
}

/** Whether one more VM fits, of whatever size. A VM that does not say otherwise is confidential where its host is. */
export function hasAnyRoom({ slots, ports, teeKeys, sizes }: Room): boolean {
  return slots !== 0 && ports > 0 && teeKeys !== 0 && sizes.size > 0;
}

/** Whether any VM of this pool fits: nothing is fetched only to be put back. */
export function hasRoomFor(room: Room, pool: string): boolean {
  if (!hasAnyRoom(room)) return false;
  const needs = parsePlacementPool(pool);
  return room.sizes.has(needs?.memoryClass ?? OWN_SIZE) && (needs?.gpu !== true || room.gpu !== false);
}
