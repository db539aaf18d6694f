import type { Needs } from "../contract/placement.ts";
import { memorySizeBytes } from "../runtime/config/value-types.ts";
import type { Config, MemoryClassSize } from "../runtime/config-shape.ts";

/**
 * What a QEMU takes beside its guest's memory, as it is counted here: 40 to 50 MB were measured (QEMU 7.2, a guest that
 * does nothing). DROVER_QEMU_MEMORY_OVERHEAD is what one may take before it is limited, which few ever come near.
 */
const QEMU_BYTES = 64 * 2 ** 20;
const RESERVE_MAX_BYTES = 2 ** 30;
const RESERVE_SHARE = 8;

/** The name of the size that a VM has whose request names none. */
export const OWN_SIZE = "";

/** A size of memory as QEMU's -m takes it, and in bytes. */
export type MemorySize = Pick<MemoryClassSize, "size" | "bytes">;

/**
 * The memory of this host, and what VMs may have of it. A guest may use all that it was given, so that it counts with
 * all of it from its launch on, however little it has touched.
 */
export class MemoryRoom {
  readonly totalBytes: number;
  readonly #sizes: ReadonlyMap<string, MemorySize>;
  readonly #reserve: number | "auto" | "off";

  constructor({ qemu, placement }: Pick<Config, "qemu" | "placement">, totalBytes: number) {
    this.totalBytes = totalBytes;
    this.#reserve = placement.memoryReserve;
    const { size } = qemu.memory;
    this.#sizes = new Map<string, MemorySize>([
      [OWN_SIZE, { size, bytes: memorySizeBytes(size, "M") ?? 0 }],
      ...placement.memoryClasses.map(({ name, ...size }) => [name, size] as const),
    ]);
  }

  /** Bytes of the host that no VM gets. */
  get reservedBytes(): number {
    if (this.#reserve === "off") return 0;
    return this.#reserve === "auto"
      ? Math.min(RESERVE_MAX_BYTES, Math.round(this.totalBytes / RESERVE_SHARE))
      : this.#reserve;
  }

  /** The classes that a request may name, with what they stand for, without those that this host could never hold. */
  get classes(): ReadonlyMap<string, MemorySize> {
    return new Map([...this.#sizes].filter(([name]) => name !== OWN_SIZE && this.#fits(name, [])));
  }

  /** Sizes that this host is set to and could never hold, by their names. */
  get tooLarge(): readonly string[] {
    return [...this.#sizes.keys()].filter((name) => !this.#fits(name, []));
  }

  /** How many VMs of a size the host holds at once; null where memory is not counted. */
  holds(name: string): number | null {
    if (this.#reserve === "off") return null;
    const bytes = this.#sizes.get(name)?.bytes ?? 0;
    const together = Math.floor((this.totalBytes - this.reservedBytes) / (bytes + QEMU_BYTES));
    return Math.max(together, this.#fits(name, []) ? 1 : 0);
  }

  /** What a VM gets; undefined where this host does not know the class of its request. */
  sizeOf({ memoryClass }: Pick<Needs, "memoryClass">): MemorySize | undefined {
    return this.#sizes.get(memoryClass ?? OWN_SIZE);
  }

  /** The sizes of which one more VM fits beside guests of `held` bytes, by their names. */
  fitting(held: readonly number[]): ReadonlySet<string> {
    return new Set([...this.#sizes.keys()].filter((name) => this.#fits(name, held)));
  }

  /** What VMs do not have of the host's memory; null where memory is not counted. */
  freeBytes(held: readonly number[]): number | null {
    return this.#reserve === "off" ? null : Math.max(0, this.totalBytes - this.reservedBytes - taken(held));
  }

  #fits(name: string, held: readonly number[]): boolean {
    const bytes = this.#sizes.get(name)?.bytes ?? 0;
    if (this.#reserve === "off") return true;
    if (taken([...held, bytes]) <= this.totalBytes - this.reservedBytes) return true;
    // A small machine that nobody has set up for drover still runs one VM, as it would without any of this; and where
    // its own size is more than it has, QEMU says so in the VM's cause.
    return this.#reserve === "auto" && held.length === 0 && (name === OWN_SIZE || bytes <= this.totalBytes);
  }
}

function taken(held: readonly number[]): number {
  return held.reduce((sum, bytes) => sum + bytes + QEMU_BYTES, 0);
}
