import type { QemuConfig } from "../contract/qemu-config.ts";
import type { CocosArgsInput } from "./cocos-args.ts";
import { suffixedId } from "./cocos-device-args.ts";
import { jsonValue, type OptionStyle, qemuOption } from "./qemu-option.ts";

export function sevSnpArgs({ sevSnp, igvm, memory }: QemuConfig, vm: CocosArgsInput): readonly string[] {
  const { style } = vm;
  const id = suffixedId(sevSnp.id, vm.deviceIdSuffix);
  return [
    "-machine",
    qemuOption(style, "", [
      ["confidential-guest-support", id],
      ["memory-backend", memory.backendId],
      ["igvm-cfg", igvm.id],
    ]),
    ...memoryBackendArgs(style, memory),
    "-object",
    qemuOption(style, "sev-snp-guest", [
      ["id", id],
      ["cbitpos", sevSnp.cBitPos],
      ["reduced-phys-bits", sevSnp.reducedPhysBits],
      ...(sevSnp.enableHostData ? [["host-data", vm.hostData ?? sevSnp.hostData] as const] : []),
    ]),
    "-object",
    qemuOption(style, "igvm-cfg", [
      ["id", igvm.id],
      ["file", igvm.file],
    ]),
  ];
}

export function tdxArgs({ tdx, memory }: QemuConfig, { style, deviceIdSuffix }: CocosArgsInput): readonly string[] {
  const id = suffixedId(tdx.id, deviceIdSuffix);
  // The blanks in this text are Cocos's own.
  const quoteSocket = `{"type": "vsock", "cid":"2","port":"${tdx.quoteGenerationPort}"}`;
  return [
    "-object",
    `{"qom-type":"tdx-guest","id":${jsonValue(style, id)},"quote-generation-socket":${quoteSocket}}`,
    "-machine",
    qemuOption(style, "", [
      ["confidential-guest-support", id],
      ["memory-backend", memory.backendId],
      ["hpet", "off"],
    ]),
    ...memoryBackendArgs(style, memory),
    "-bios",
    tdx.ovmfFile,
    "-nodefaults",
  ];
}

function memoryBackendArgs(style: OptionStyle, { backendId, size }: QemuConfig["memory"]): readonly string[] {
  return [
    "-object",
    qemuOption(style, "memory-backend-memfd", [
      ["id", backendId],
      ["size", size],
      ["share", true],
      ["prealloc", false],
    ]),
  ];
}
