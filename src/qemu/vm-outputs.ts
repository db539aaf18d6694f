import { TAIL_MAX_BYTES, TAIL_MAX_LINES } from "../contract/limits.ts";
import { readTail } from "./bounded-file.ts";
import { RESULT_RING } from "./ring-reader.ts";
import { textTail } from "./text-tail.ts";
import type { VmPaths } from "./vm-paths.ts";

/** What is left of a VM's output when it has ended. */
export interface VmOutputs {
  /** The last 200 lines of the guest's console, 64 KB at most. */
  readonly console: string;
  /** The same of QEMU's own output. */
  readonly qemu: string;
  /** The last bytes that the guest wrote to `drover.result`: for `lastGuestResult` of the contract. */
  readonly result: Buffer;
  /** The last things that QEMU told unasked, oldest first; `data` is JSON text. Only of a QEMU that is supervised. */
  readonly qmpEvents?: readonly { readonly name: string; readonly data: string; readonly atMs: number }[];
}

const TAIL_BOUND = { maxLines: TAIL_MAX_LINES, maxBytes: TAIL_MAX_BYTES };

/** A piece of output cut to what is kept of it. */
export function keptText(output: Buffer): string {
  return textTail(output, TAIL_BOUND);
}

/**
 * The outputs as they stand in the directory of a launch, whoever wrote them. A file that is not there counts as empty.
 * Throws the system's own errors otherwise.
 */
export async function readOutputs(paths: VmPaths): Promise<VmOutputs> {
  const [console, qemu, result] = await Promise.all([
    readTail(paths.consoleLog, TAIL_MAX_BYTES),
    readTail(paths.qemuLog, TAIL_MAX_BYTES),
    readTail(paths.result, RESULT_RING.bound.maxBytes),
  ]);
  return { console: keptText(console), qemu: keptText(qemu), result };
}
