import { constants } from "node:fs";
import { access, readdir, readFile, readlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { decideGpu, detectGpu, pciName } from "../../qemu/host-detection.ts";
import { memorySizeBytes } from "../../runtime/config/value-types.ts";
import type { Config } from "../../runtime/config-shape.ts";
import { errnoOf } from "../../runtime/errno.ts";
import { opensAnyDevice } from "./qemu-rights.ts";

/** The GPU that VMs get, as the kernel sees it. */
export interface GpuFacts {
  readonly bdf: string;
  /** Whether MANAGER_QEMU_GPU_BDF names it; else it was found. */
  readonly isSet: boolean;
  readonly exists: boolean;
  /** The driver that it is bound to. */
  readonly driver: string | undefined;
  /** Its IOMMU group; undefined without an IOMMU. */
  readonly group: string | undefined;
  /** Others of the group that a driver of the host holds: they keep the whole group from a VM. */
  readonly heldByHost: readonly { readonly bdf: string; readonly driver: string }[];
  /** Why the group's device file cannot be opened; undefined: it can. */
  readonly deviceErrno: string | undefined;
  /** How much memory QEMU may lock; undefined: as much as it likes. */
  readonly memlockBytes: number | undefined;
  readonly perVmBytes: number;
}

/** Drivers under which a device of the group does not matter: it is for VMs, or a bridge. */
const HARMLESS_DRIVERS = /^(?:vfio-pci|pci-stub|pcieport|pci_bridge|shpchp)$/;

/** Undefined where VMs get no GPU. Looks, and changes nothing. `rootDir` stands before /proc, /sys and /dev. */
export async function readGpuFacts(config: Config, rootDir = "/"): Promise<GpuFacts | undefined> {
  const { qemu } = config;
  const isFree = opensAnyDevice(config);
  const bdf = decideGpu(qemu.gpu.bdf, detectGpu(rootDir));
  if (bdf === false) return undefined;
  const devices = join(rootDir, "sys/bus/pci/devices");
  const device = join(devices, pciName(bdf));
  const [exists, driver, group, memlockBytes] = await Promise.all([
    errnoOfAccess(device, constants.F_OK).then((errno) => errno === undefined),
    linkName(join(device, "driver")),
    linkName(join(device, "iommu_group")),
    isFree ? undefined : memoryLockLimit(rootDir),
  ]);
  return {
    bdf,
    isSet: qemu.gpu.bdf !== "",
    exists,
    driver,
    group,
    heldByHost: group === undefined ? [] : await heldByHost(device, devices),
    deviceErrno:
      group === undefined
        ? undefined
        : await errnoOfAccess(
            join(rootDir, "dev/vfio", group),
            isFree ? constants.F_OK : constants.R_OK | constants.W_OK,
          ),
    memlockBytes,
    perVmBytes: memorySizeBytes(qemu.memory.size, "M") ?? 0,
  };
}

async function heldByHost(device: string, devices: string): Promise<GpuFacts["heldByHost"]> {
  const names = await readdir(join(device, "iommu_group/devices")).catch(() => []); // gone meanwhile: nobody holds it
  const held = await Promise.all(
    names
      .filter((name) => name !== basename(device))
      .map(async (bdf) => ({ bdf, driver: await linkName(join(devices, bdf, "driver")) })),
  );
  return held.flatMap(({ bdf, driver }) =>
    driver === undefined || HARMLESS_DRIVERS.test(driver) ? [] : [{ bdf, driver }],
  );
}

async function memoryLockLimit(rootDir: string): Promise<number | undefined> {
  const limits = await readFile(join(rootDir, "proc/self/limits"), "utf8").catch(() => ""); // not told: no judgement
  const soft = /^Max locked memory +(\d+)/m.exec(limits)?.[1];
  return soft === undefined ? undefined : Number(soft);
}

async function linkName(path: string): Promise<string | undefined> {
  return readlink(path).then(basename, () => undefined);
}

async function errnoOfAccess(path: string, mode: number): Promise<string | undefined> {
  return access(path, mode).then(
    () => undefined,
    (error: unknown) => errnoOf(error) ?? "unknown",
  );
}
