import type { CvmFacts } from "../contract/cvm-facts.ts";
import type { Config } from "./config-shape.ts";

/** What this machine is configured with, as Cocos's CVMInfo tells it. No VM's own parameters are in it. */
export function cvmFactsOf({ qemu, manager }: Pick<Config, "qemu" | "manager">): CvmFacts {
  return {
    ovmfVersion: qemu.ovmfCode.version,
    cpuNum: qemu.smpCount,
    cpuType: qemu.cpu,
    kernelCmd: qemu.enableDisk ? "" : qemu.kernelCmdline,
    eosVersion: manager.eosVersion,
  };
}
