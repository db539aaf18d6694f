import { pciName } from "../../qemu/host-detection.ts";
import type { Check } from "./check.ts";
import type { GpuFacts } from "./gpu-facts.ts";

/** Pure: whether the host can give its GPU to a VM. Nothing is said where it has none. */
export function gpuChecks(facts: GpuFacts | undefined): readonly Check[] {
  if (facts === undefined) return [];
  const wrong = problemOf(facts);
  if (wrong !== undefined) return [wrong];
  const { bdf, isSet, memlockBytes, perVmBytes } = facts;
  const found = ok("gpu", `GPU ${bdf} can be given to a VM${isSet ? "" : " (found; MANAGER_QEMU_GPU_BDF is not set)"}`);
  if (memlockBytes === undefined || memlockBytes > perVmBytes) return [found];
  const text = `a VM with a GPU locks all of its memory, and this user may lock ${Math.floor(memlockBytes / 1024)} KiB`;
  return [
    found,
    problem("gpu_memlock", text, "Set LimitMEMLOCK=infinity in the worker's unit (`ulimit -l unlimited`)."),
  ];
}

function problemOf({ bdf, isSet, exists, driver, group, heldByHost, deviceErrno }: GpuFacts): Check | undefined {
  if (!exists)
    return problem("gpu", `there is no PCI device ${bdf}`, "Mend MANAGER_QEMU_GPU_BDF; `lspci -D` lists them.");
  if (group === undefined) {
    const todo = "Switch the IOMMU on, in the firmware's set-up and with intel_iommu=on or amd_iommu=on.";
    return problem("gpu", `GPU ${bdf} has no IOMMU group`, todo);
  }
  if (driver !== "vfio-pci") {
    const text = `GPU ${bdf} is bound to ${driver ?? "no driver"}, not to vfio-pci`;
    return problem("gpu", text, `driverctl set-override ${pciName(bdf)} vfio-pci${isSet ? "" : ", or the like"}`);
  }
  const [other] = heldByHost;
  if (other !== undefined) {
    const text = `IOMMU group ${group} of GPU ${bdf} is not for a VM alone: ${other.driver} of the host holds ${other.bdf}`;
    return problem("gpu", text, `driverctl set-override ${other.bdf} vfio-pci, and so for each device of the group.`);
  }
  if (deviceErrno !== undefined) {
    const text = `this user may not use /dev/vfio/${group} (${deviceErrno})`;
    return problem("gpu", text, "Give it to the user that runs QEMU by a udev rule.");
  }
  return undefined;
}

function ok(id: string, text: string): Check {
  return { id, area: "host", status: "ok", text };
}

function problem(id: string, text: string, todo: string): Check {
  return { id, area: "host", status: "problem", text, todo };
}
