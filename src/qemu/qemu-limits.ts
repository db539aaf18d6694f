import { memorySizeBytes } from "../runtime/config/value-types.ts";
import type { Config } from "../runtime/config-shape.ts";

/** QEMU has a thread for each processor and some for disks and consoles; slirp and the coroutine pool stay below this. */
const THREADS_SPARE = 256;

/** What one QEMU may use. */
export interface QemuLimits {
  readonly memoryBytes: number;
  /** In hundredths of a processor. */
  readonly cpuPercent: number;
  readonly tasks: number;
}

/**
 * The guest's memory (`guestBytes`; left out: what every VM of the host gets) with the overhead, its processors and one more for disks and network, so that a limit is met by
 * what is wrong and not by a guest that uses what it was given. Pure.
 */
export function qemuLimits(
  { qemu, qemuProcess }: Pick<Config, "qemu" | "qemuProcess">,
  guestBytes = memorySizeBytes(qemu.memory.size, "M") ?? 0,
): QemuLimits {
  return {
    memoryBytes: guestBytes + qemuProcess.memoryOverheadBytes,
    cpuPercent: (qemu.smpCount + 1) * 100,
    tasks: qemu.smpMaxCpus + THREADS_SPARE,
  };
}
