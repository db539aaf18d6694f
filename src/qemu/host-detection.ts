import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LaunchFailure } from "../contract/causes.ts";
import type { Tee, TeeWish } from "../contract/qemu-config.ts";
import { goTrimSpace } from "../runtime/config/go-strconv.ts";

const NVIDIA_VENDOR = "0x10de";
/** PCI classes of 3D and VGA controllers. */
const GPU_CLASSES = ["0x0302", "0x0300"];

export interface DetectedTee {
  readonly sevSnp: boolean;
  readonly tdx: boolean;
}

/** Asks the kernel for SEV-SNP and TDX, exactly as Cocos does. `rootDir` stands before /proc and /sys. Never throws. */
export function detectTee(rootDir = "/"): DetectedTee {
  const cpuinfo = readText(join(rootDir, "proc/cpuinfo"));
  const isOn = (parameter: string): boolean => goTrimSpace(readText(join(rootDir, "sys/module", parameter))) === "Y";
  return {
    sevSnp: cpuinfo.includes("sev_snp") && isOn("kvm_amd/parameters/sev_snp"),
    tdx: cpuinfo.includes("tdx_host_platform") && isOn("kvm_intel/parameters/tdx"),
  };
}

/** PCI address of the first NVIDIA GPU that is bound to vfio-pci, in the order of names. Never throws. */
export function detectGpu(rootDir = "/"): string | undefined {
  const driverDir = join(rootDir, "sys/bus/pci/drivers/vfio-pci");
  return namesIn(driverDir)
    .filter((name) => name.includes(":"))
    .find((name) => {
      const vendor = goTrimSpace(readText(join(driverDir, name, "vendor")));
      const deviceClass = goTrimSpace(readText(join(driverDir, name, "class")));
      return vendor === NVIDIA_VENDOR && GPU_CLASSES.some((prefix) => deviceClass.startsWith(prefix));
    });
}

/**
 * What VMs of this host get. Throws a {@link LaunchFailure} with `tee_unsupported` where the operator asked for what the
 * host lacks. A host that had both would give SEV-SNP.
 */
export function decideTee(wish: TeeWish, detected: DetectedTee): Tee {
  const offers = [
    {
      kind: "snp",
      label: "SEV-SNP",
      name: "MANAGER_QEMU_ENABLE_SEV_SNP",
      wished: wish.enableSevSnp,
      has: detected.sevSnp,
    },
    { kind: "tdx", label: "TDX", name: "MANAGER_QEMU_ENABLE_TDX", wished: wish.enableTdx, has: detected.tdx },
  ] as const;
  for (const { label, name, wished, has } of offers) {
    if (wished !== true || has) continue;
    throw new LaunchFailure(
      "tee_unsupported",
      `${name} is true, but this host does not offer ${label}. Set it to false, or unset it to take what the host has.`,
    );
  }
  const chosen =
    offers.find(({ wished }) => wished === true) ?? offers.find(({ wished, has }) => wished === undefined && has);
  if (chosen !== undefined) return { kind: chosen.kind };
  const switchedOff = offers.filter(({ wished, has }) => wished === false && has).map(({ name }) => name);
  return switchedOff.length === 0
    ? { kind: "none" }
    : { kind: "none", note: `switched off by ${switchedOff.join(" and ")}` };
}

/** `snp`, `none (switched off by NAME)`: as it stands in host descriptions, records and the start log. */
export function describeTee({ kind, note }: Tee): string {
  return note === undefined ? kind : `${kind} (${note})`;
}

/**
 * The GPU that VMs get: the operator's, else the detected one. Cocos itself overlooks MANAGER_QEMU_GPU_BDF where
 * detection found nothing.
 */
export function decideGpu(setBdf: string, detectedBdf: string | undefined): string | false {
  return setBdf === "" ? (detectedBdf ?? false) : setBdf;
}

/** A PCI address as the kernel and its tools write it: always with the domain, in lower case. */
export function pciName(bdf: string): string {
  return (bdf.length < "0000:00:00.0".length ? `0000:${bdf}` : bdf).toLowerCase();
}

/** Sorted by code points; empty where the directory cannot be read: without the driver there is no GPU to pass through. */
function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

/** Empty where the file cannot be read: then the host has not what it would tell of. */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
