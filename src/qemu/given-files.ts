import { resolve } from "node:path";
import type { LaunchFileRole } from "../contract/forensics.ts";
import type { Config } from "../runtime/config-shape.ts";

/** A file of the operator's that a VM is made of. */
export interface GivenFile {
  readonly role: LaunchFileRole;
  /** Absolute. */
  readonly path: string;
}

/** The files of the operator's that every launch of this kind is given. Pure. */
export function givenFiles({ qemu, firmware }: Config, tee: "none" | "snp" | "tdx"): readonly GivenFile[] {
  const given: readonly { readonly role: LaunchFileRole; readonly path: string; readonly isUsed: boolean }[] = [
    { role: "kernel", path: qemu.kernelFile, isUsed: !qemu.enableDisk },
    { role: "initrd", path: qemu.rootFsFile, isUsed: !qemu.enableDisk },
    { role: "firmware", path: qemu.ovmfCode.file, isUsed: tee === "none" && firmware === "ovmf" },
    { role: "firmware-variables", path: qemu.ovmfVars.file, isUsed: tee === "none" && firmware === "ovmf" },
    { role: "igvm", path: qemu.igvm.file, isUsed: tee === "snp" },
    { role: "firmware", path: qemu.tdx.ovmfFile, isUsed: tee === "tdx" },
    { role: "disk-source", path: qemu.disk.srcFile, isUsed: qemu.enableDisk },
  ];
  return given.flatMap(({ role, path, isUsed }) => (isUsed && path !== "" ? [{ role, path: resolve(path) }] : []));
}
