import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { LaunchFailure } from "../../contract/causes.ts";
import type { Tee } from "../../contract/qemu-config.ts";
import { decideTee, detectTee } from "../../qemu/host-detection.ts";
import { detectTeeKeys } from "../../qemu/host-memory.ts";
import { probeObjects } from "../../qemu/qemu-probe.ts";
import type { Config } from "../../runtime/config-shape.ts";
import { errnoOf } from "../../runtime/errno.ts";
import { opensAnyDevice } from "./qemu-rights.ts";

/** What this machine has for confidential VMs, and what they need of it. */
export interface TeeFacts {
  /** What VMs get; `problem` where the operator asked for what the host does not offer. */
  readonly tee: Tee | { readonly problem: string };
  /** What is looked at: what VMs get, or what was asked for in vain. */
  readonly kind: "none" | "snp" | "tdx";
  /** The processor has it (`snp`: the flag sev_snp; `tdx`: tdx_host_platform), whatever the kernel does with it. */
  readonly cpuHas: { readonly snp: boolean; readonly tdx: boolean };
  /** The kernel module's parameters as they stand; undefined where the module is not loaded. */
  readonly parameters: Readonly<Record<"sev" | "sevEs" | "sevSnp" | "tdx", string | undefined>>;
  /** Why /dev/sev cannot be opened for reading and writing; undefined: it can, or QEMU has more rights than we. */
  readonly sevDeviceErrno: string | undefined;
  /** How many confidential VMs the hardware has keys for, where the kernel tells. */
  readonly keys: { readonly snp: number | undefined; readonly tdx: number | undefined };
  /** The machine can connect to its own vsock ports: a TDX guest's quotes come over one. */
  readonly hasVsockLoopback: boolean;
  /** The objects that this QEMU can make; undefined when it did not say, or was not asked. */
  readonly qemuObjects: readonly string[] | undefined;
  readonly cpuModel: string;
  readonly usesKvm: boolean;
  readonly maxVms: number;
}

/** Looks, and changes nothing. `rootDir` stands before /proc, /sys and /dev. */
export async function readTeeFacts(config: Config, rootDir = "/"): Promise<TeeFacts> {
  const tee = teeOf(config, rootDir);
  const kind = kindOf(config, tee);
  const text = (path: string) => readText(join(rootDir, path));
  const [cpuinfo = "", sev, sevEs, sevSnp, tdx, vsock, sevDeviceErrno, qemuObjects] = await Promise.all([
    text("proc/cpuinfo"),
    text("sys/module/kvm_amd/parameters/sev"),
    text("sys/module/kvm_amd/parameters/sev_es"),
    text("sys/module/kvm_amd/parameters/sev_snp"),
    text("sys/module/kvm_intel/parameters/tdx"),
    errnoOfAccess(join(rootDir, "sys/module/vsock_loopback"), constants.F_OK),
    errnoOfAccess(join(rootDir, "dev/sev"), opensAnyDevice(config) ? constants.F_OK : constants.R_OK | constants.W_OK),
    kind === "none" ? undefined : probeObjects(config.qemu.binPath),
  ]);
  return {
    tee,
    kind,
    cpuHas: { snp: cpuinfo.includes("sev_snp"), tdx: cpuinfo.includes("tdx_host_platform") },
    parameters: { sev, sevEs, sevSnp, tdx },
    sevDeviceErrno,
    keys: { snp: detectTeeKeys("snp", rootDir), tdx: detectTeeKeys("tdx", rootDir) },
    hasVsockLoopback: vsock === undefined,
    qemuObjects,
    cpuModel: config.qemu.cpu,
    usesKvm: config.qemu.enableKvm,
    maxVms: config.manager.maxVms,
  };
}

function teeOf({ teeWish }: Config, rootDir: string): TeeFacts["tee"] {
  try {
    return decideTee(teeWish, detectTee(rootDir));
  } catch (error) {
    if (error instanceof LaunchFailure) return { problem: error.message };
    throw error;
  }
}

function kindOf({ teeWish }: Config, tee: TeeFacts["tee"]): TeeFacts["kind"] {
  if ("kind" in tee) return tee.kind;
  return teeWish.enableSevSnp === true ? "snp" : "tdx";
}

/** Trimmed; undefined where the file cannot be read. */
async function readText(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").then(
    (text) => text.trim(),
    () => undefined,
  );
}

async function errnoOfAccess(path: string, mode: number): Promise<string | undefined> {
  return access(path, mode).then(
    () => undefined,
    (error: unknown) => errnoOf(error) ?? "unknown",
  );
}
