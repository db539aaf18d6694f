import { LaunchFailure } from "../contract/causes.ts";
import type { Needs } from "../contract/placement.ts";
import type { Tee } from "../contract/qemu-config.ts";
import type { MemorySize } from "./memory-room.ts";

/** The confidential technology that one VM gets of a host. */
export function vmTee({ tee }: Needs, host: Tee): Tee {
  return tee === "none" && host.kind !== "none" ? { kind: "none", note: "as the request asks" } : host;
}

/** The GPU that one VM gets, where it is free: a VM that does not say gets it, as with Cocos. */
export function vmGpu({ gpu }: Needs, free: string | false): string | false {
  return gpu === false ? false : free;
}

/**
 * Throws a {@link LaunchFailure} where a VM would get less than its request needs. Its pool keeps it away from hosts that
 * cannot give it; a host may have been set up anew since.
 */
export function assertServed(
  needs: Needs,
  { tee, gpu, memory }: { readonly tee: Tee; readonly gpu: string | false; readonly memory: MemorySize | undefined },
): void {
  if (needs.tee !== undefined && needs.tee !== tee.kind)
    throw new LaunchFailure("tee_unsupported", `the request needs ${needs.tee}, and this host gives ${tee.kind}`);
  if (needs.gpu === true && gpu === false)
    throw new LaunchFailure("gpu_busy", "the request needs a GPU, and this host has none that is free");
  if (memory === undefined)
    throw new LaunchFailure(
      "memory_exhausted",
      `the request names the memory class ${needs.memoryClass}, and DROVER_MEMORY_CLASSES of this host does not have it`,
    );
}
