import { constants, readFileSync } from "node:fs";
import { access, readFile, stat, statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { probeQemu, probeQemuImg, type QemuProbe } from "../../qemu/qemu-probe.ts";
import type { Config } from "../../runtime/config-shape.ts";
import { errnoOf } from "../../runtime/errno.ts";
import { type GpuFacts, readGpuFacts } from "./gpu-facts.ts";
import { type PlacementFacts, readPlacementFacts } from "./placement-facts.ts";
import { opensAnyDevice } from "./qemu-rights.ts";
import { readTeeFacts, type TeeFacts } from "./tee-facts.ts";

const Trial = z.object({ accel: z.enum(["kvm", "tcg"]), reason: z.string() });

/** What this machine is, as far as VMs need it. */
export interface HostFacts {
  readonly kvm: {
    readonly wanted: boolean;
    readonly usable: boolean;
    readonly errno: string | undefined;
    /** Why `npm run demo` has given KVM up here, where it has: that /dev/kvm opens proves little. */
    readonly givenUp: string | undefined;
  };
  readonly tee: TeeFacts;
  /** Undefined where VMs get no GPU. */
  readonly gpu: GpuFacts | undefined;
  /** Files that every VM boots from, with the variable that names them. */
  readonly files: readonly { readonly path: string; readonly setBy: string; readonly errno: string | undefined }[];
  readonly qemu: QemuProbe;
  readonly qemuImg: Omit<QemuProbe, "missing"> | undefined;
  readonly stateDir: {
    readonly path: string;
    readonly exists: boolean;
    readonly mode: number;
    readonly isOurs: boolean;
    readonly isWritable: boolean;
    readonly freeBytes: number;
    /** Undefined where the file system counts none. */
    readonly freeInodes: number | undefined;
  };
  readonly placement: PlacementFacts;
  readonly ports: { readonly total: number; readonly foreign: readonly number[] };
}

/** Looks, and changes nothing: ports are looked up, not tried, so that no launch meets us on one. */
export async function readHostFacts(
  config: Config,
  ports: { readonly total: number; readonly foreign: readonly number[] },
): Promise<HostFacts> {
  const { qemu } = config;
  const tee = await readTeeFacts(config);
  const [kvmErrno, gpu, files, probe, image, stateDir, givenUp] = await Promise.all([
    unusable("/dev/kvm", opensAnyDevice(config) ? constants.F_OK : constants.R_OK | constants.W_OK),
    readGpuFacts(config),
    Promise.all(
      bootFiles(config, tee.kind).map(async ({ path, setBy }) => ({
        path,
        setBy,
        errno: await unusable(path, constants.R_OK),
      })),
    ),
    probeQemu(qemu.binPath),
    qemu.enableDisk ? probeQemuImg("qemu-img") : undefined,
    readStateDir(config.stateDir),
    readTrial(config.stateDir),
  ]);
  return {
    kvm: { wanted: qemu.enableKvm, usable: kvmErrno === undefined, errno: kvmErrno, givenUp },
    tee,
    gpu,
    files,
    qemu: probe,
    qemuImg: image,
    stateDir,
    placement: readPlacementFacts(config),
    ports,
  };
}

/** TCP ports of a range on which somebody listens at an address that a VM's port would be bound to. */
export function listeningPorts(range: { first: number; last: number }, bind: string | undefined): readonly number[] {
  const found = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((table) =>
    listeners(table)
      .filter(({ address }) => bind === undefined || /^0+$/.test(address) || address === hexAddress(bind))
      .map(({ port }) => port),
  );
  return [...new Set(found)].filter((port) => port >= range.first && port <= range.last).sort((a, b) => a - b);
}

function listeners(table: string): readonly { address: string; port: number }[] {
  const LISTEN = "0A";
  try {
    return readFileSync(table, "latin1")
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === LISTEN)
      .map((fields) => {
        const [address = "", port = ""] = (fields[1] ?? "").split(":");
        return { address, port: Number.parseInt(port, 16) };
      });
  } catch {
    return []; // a kernel without IPv6
  }
}

/** An IPv4 address as /proc/net/tcp has it. */
function hexAddress(address: string): string {
  const bytes = address.split(".").map(Number);
  return bytes
    .reverse()
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("")
    .toUpperCase();
}

function bootFiles({ qemu, firmware }: Config, kind: TeeFacts["kind"]): readonly { path: string; setBy: string }[] {
  const files = qemu.enableDisk
    ? [{ path: qemu.disk.srcFile, setBy: "MANAGER_QEMU_SRC_DISK_FILE" }]
    : [
        { path: qemu.kernelFile, setBy: "MANAGER_QEMU_DISK_IMG_KERNEL_FILE" },
        { path: qemu.rootFsFile, setBy: "MANAGER_QEMU_DISK_IMG_ROOTFS_FILE" },
      ];
  if (kind === "snp") files.push({ path: qemu.igvm.file, setBy: "MANAGER_QEMU_IGVM_FILE" });
  else if (kind === "tdx") files.push({ path: qemu.tdx.ovmfFile, setBy: "MANAGER_QEMU_OVMF_FILE" });
  else if (firmware === "ovmf") {
    files.push({ path: qemu.ovmfCode.file, setBy: "MANAGER_QEMU_OVMF_CODE_FILE" });
    files.push({ path: qemu.ovmfVars.file, setBy: "MANAGER_QEMU_OVMF_VARS_FILE" });
  }
  return files.map(({ path, setBy }) => ({ path: resolve(path), setBy })); // relative ones start where the worker stands
}

async function readStateDir(path: string): Promise<HostFacts["stateDir"]> {
  const found = await stat(path).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  });
  const existing = await nearestExisting(path);
  const space = await statfs(existing);
  return {
    path,
    exists: found !== undefined,
    mode: (found?.mode ?? 0o700) & 0o777,
    isOurs: found === undefined || found.uid === process.getuid?.(),
    isWritable: (await unusable(existing, constants.W_OK | constants.X_OK)) === undefined,
    freeBytes: space.bavail * space.bsize,
    freeInodes: space.files === 0 ? undefined : space.ffree,
  };
}

/** The note of scripts/accelerator.mjs, which boots the demo guest under KVM once. */
async function readTrial(stateDir: string): Promise<string | undefined> {
  try {
    const trial = Trial.parse(JSON.parse(await readFile(join(stateDir, "accelerator.json"), "utf8")));
    return trial.accel === "tcg" ? trial.reason : undefined;
  } catch {
    return undefined; // never tried here
  }
}

async function nearestExisting(path: string): Promise<string> {
  return (await unusable(path, constants.F_OK)) === undefined || path === "/" ? path : nearestExisting(dirname(path));
}

async function unusable(path: string, mode: number): Promise<string | undefined> {
  return access(path, mode).then(
    () => undefined,
    (error: unknown) => errnoOf(error) ?? "unknown",
  );
}
