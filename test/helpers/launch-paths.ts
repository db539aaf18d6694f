import { type VmPaths, vmPaths } from "../../src/qemu/vm-paths.ts";

/** Where the files of a VM's launch stand on its host. */
export function launchPaths({ stateDir }: { stateDir: string }, vmId: string, epoch = 1): VmPaths {
  return vmPaths({ stateDir, vmId, epoch });
}
