import { join } from "node:path";

/** How the guest gets its kernel: PVH kernel by SeaBIOS, bzImage by UEFI as Cocos does, or UEFI from its own disk. */
type Boot = "pvh" | "uefi" | "disk";

export interface MachineOptions {
  readonly boot?: Boot;
  /** AGENT_CVM_GRPC_URL, which names the computation. */
  readonly url?: string;
  /** Further lines of the environment file, as they stand in it. */
  readonly environment?: readonly string[];
  /** The kernel line; the image's own when not given. */
  readonly cmdline?: string;
  /** What is on the other side of the result port: a file, nobody, or there is no such port. */
  readonly result?: "file" | "nobody" | "none";
  /** A machine without network and shares. */
  readonly bare?: boolean;
}

const FIRMWARE = "/usr/share/OVMF/OVMF_CODE.fd";
export const FIRMWARE_VARIABLES = "/usr/share/OVMF/OVMF_VARS.fd";

/** The device set of Cocos's command line, with the few of drover's own options that the guest can see. */
export function machineArguments(image: string, folder: string, cmdline: string, options: MachineOptions): string[] {
  const { boot = "pvh", result = "file", bare = false } = options;
  return [
    ...[
      "-accel",
      "tcg",
      "-machine",
      "q35",
      "-cpu",
      "max",
      "-smp",
      "1",
      "-m",
      "256M",
      "-nodefaults",
      "-display",
      "none",
    ],
    ...["-chardev", `file,id=console,path=${join(folder, "console")}`, "-serial", "chardev:console"],
    ...["-qmp", `unix:${join(folder, "qmp")},server=on,wait=off`, "-device", "pvpanic", "-action", "panic=pause"],
    ...bootArguments(image, folder, boot, cmdline),
    ...(bare ? [] : cocosDevices(folder)),
    ...resultArguments(folder, result),
  ];
}

function bootArguments(image: string, folder: string, boot: Boot, cmdline: string): string[] {
  const uefi = [
    ...["-drive", `if=pflash,format=raw,unit=0,file=${FIRMWARE},readonly=on`],
    ...["-drive", `if=pflash,format=raw,unit=1,file=${join(folder, "variables.fd")}`],
  ];
  const kernel = (name: string, initrd: string) => [
    ...["-kernel", join(image, name), "-initrd", join(image, initrd), "-append", cmdline],
  ];
  if (boot === "pvh") return kernel("vmlinux", "rootfs.cpio");
  if (boot === "uefi") return [...uefi, ...kernel("bzImage", "rootfs.cpio.gz")];
  return [
    ...uefi,
    ...["-drive", `file=${join(image, "disk.qcow2")},if=none,id=disk0,format=qcow2,snapshot=on`],
    ...["-device", "virtio-scsi-pci,id=scsi0,disable-legacy=on,iommu_platform=true"],
    ...["-device", "scsi-hd,drive=disk0,bus=scsi0.0"],
  ];
}

function cocosDevices(folder: string): string[] {
  const share = (id: string, name: string, tag: string) => [
    ...["-fsdev", `local,id=${id},path=${join(folder, name)},security_model=mapped`],
    ...["-device", `virtio-9p-pci,fsdev=${id},mount_tag=${tag}`, "-set", `fsdev.${id}.readonly=on`],
  ];
  return [
    ...["-netdev", "user,id=vmnic,hostfwd=tcp:127.0.0.1:0-:7002"],
    ...["-device", "virtio-net-pci,disable-legacy=on,iommu_platform=true,netdev=vmnic,addr=0x2,romfile="],
    ...share("cert_fs", "certs", "certs_share"),
    ...share("env_fs", "env", "env_share"),
  ];
}

function resultArguments(folder: string, result: MachineOptions["result"]): string[] {
  if (result === "none") return [];
  const path = join(folder, "result");
  const chardev =
    result === "file" ? `file,id=result,path=${path}` : `socket,id=result,path=${path},server=on,wait=off`;
  return [
    ...["-device", "virtio-serial-pci", "-chardev", chardev],
    ...["-device", "virtserialport,chardev=result,name=drover.result"],
  ];
}
