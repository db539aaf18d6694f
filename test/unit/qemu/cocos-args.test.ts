import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { QemuConfig } from "../../../src/contract/qemu-config.ts";
import { type CocosVmValues, cocosArgs } from "../../../src/qemu/cocos-args.ts";
import { decideGpu } from "../../../src/qemu/host-detection.ts";
import { qemuOption } from "../../../src/qemu/qemu-option.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";

interface Golden {
  readonly name: string;
  readonly env: Record<string, string>;
  readonly perVm: Record<string, string> & { readonly hostFwdAgent?: number };
  readonly sevSnp: boolean;
  readonly tdx: boolean;
  readonly gpuDetectedBdf?: string;
  readonly args: readonly string[];
  readonly parseError?: string;
  readonly validateError?: string;
}

const goldens: Golden[] = JSON.parse(readFileSync("test/fixtures/goldens/qemu-args.json", "utf8"));
const plainVm: CocosVmValues = { hostPort: 6100, tee: "none", gpu: false, firmware: "ovmf" };
const qemuWith = (env: Record<string, string>): QemuConfig => loadConfig(env, { isRoot: true }).config.qemu;

/** The value that follows an option, for its n-th occurrence. */
const valueAfter = (args: readonly string[], option: string, n = 0): string | undefined => {
  const at = args.map((arg, index) => (arg === option ? index : -1)).filter((index) => index >= 0)[n];
  return at === undefined ? undefined : args[at + 1];
};

/**
 * QEMU's reading of an option, written from the description in its documentation and not from our builder: a comma ends
 * a value, two commas are one comma in it.
 */
function readOption(text: string): { first: string | undefined; pairs: [string, string][] } {
  const parts: string[] = [];
  let current = "";
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== ",") current += text[at];
    else if (text[at + 1] === ",") {
      current += ",";
      at++;
    } else {
      parts.push(current);
      current = "";
    }
  }
  parts.push(current);
  const pairs: [string, string][] = [];
  let first: string | undefined;
  for (const [index, part] of parts.entries()) {
    const equals = part.indexOf("=");
    if (equals < 0 && index === 0) first = part;
    else pairs.push([part.slice(0, equals), part.slice(equals + 1)]);
  }
  return { first, pairs };
}

describe("drover's own configuration gives Cocos's command line", () => {
  const accepted = goldens.filter(({ parseError, validateError }) => (parseError ?? validateError) === undefined);

  test.each(accepted)("for the case $name", ({ env, perVm, sevSnp, tdx, gpuDetectedBdf, args }) => {
    const vm: CocosVmValues = {
      hostPort: perVm.hostFwdAgent ?? 7020,
      deviceIdSuffix: perVm["deviceIdSuffix"],
      certsDir: perVm["certsMount"],
      envDir: perVm["envMount"],
      ovmfVarsFile: perVm["ovmfVarsFile"],
      diskFile: perVm["dstDiskFile"],
      hostData: perVm["hostData"],
      kernelCmdlineSuffix: perVm["kernelCmdlineSuffix"],
      tee: sevSnp ? "snp" : tdx ? "tdx" : "none",
      gpu: gpuDetectedBdf ?? false,
      firmware: "ovmf",
    };
    expect(cocosArgs(qemuWith(env), vm)).toEqual(args);
  });
});

const more: Golden[] = JSON.parse(readFileSync("test/fixtures/goldens/qemu-args-more.json", "utf8"));

test.each(["gpu-override", "gpu-empty-override"])("detection and MANAGER_QEMU_GPU_BDF give the GPU of %s", (name) => {
  const golden = more.find((each) => each.name === name);
  if (golden === undefined) throw new Error(`no golden ${name}`);
  const { env, perVm, sevSnp, gpuDetectedBdf, args } = golden;
  const qemu = qemuWith(env);
  const vm: CocosVmValues = {
    ...plainVm,
    hostPort: perVm.hostFwdAgent ?? 7020,
    deviceIdSuffix: perVm["deviceIdSuffix"],
    certsDir: perVm["certsMount"],
    envDir: perVm["envMount"],
    ovmfVarsFile: perVm["ovmfVarsFile"],
    tee: sevSnp ? "snp" : "none",
    gpu: decideGpu(qemu.gpu.bdf, gpuDetectedBdf),
  };
  expect(cocosArgs(qemu, vm)).toEqual(args);
});

test("MANAGER_QEMU_GPU_BDF alone gives the GPU, which Cocos overlooks", () => {
  const golden = more.find(({ name }) => name === "gpu-bdf-alone");
  const qemu = qemuWith(golden?.env ?? {});
  const gpu = decideGpu(qemu.gpu.bdf, undefined);
  expect(golden?.args.join(" ")).not.toContain("vfio-pci");
  expect(cocosArgs(qemu, { ...plainVm, gpu }).join(" ")).toContain("-device vfio-pci,host=0000:42:00.0,bus=pci.1");
});

test("a bind address stands in the forwarding rule and nowhere else", () => {
  const qemu = qemuWith({});
  const bound = cocosArgs(qemu, { ...plainVm, forwardBind: "127.0.0.1" });
  expect(valueAfter(bound, "-netdev")).toBe("user,id=vmnic,hostfwd=tcp:127.0.0.1:6100-:7002");
  expect(bound.map((arg) => arg.replace("tcp:127.0.0.1:", "tcp::"))).toEqual(cocosArgs(qemu, plainVm));
});

test("seabios leaves out the two pflash drives and nothing else", () => {
  const ovmf = cocosArgs(qemuWith({}), plainVm);
  const seabios = cocosArgs(qemuWith({}), { ...plainVm, firmware: "seabios" });
  const firstDrive = ovmf.indexOf("-drive");
  expect(seabios).toEqual(ovmf.toSpliced(firstDrive, 4));
});

test("with a disk there is no kernel, with a kernel no disk", () => {
  const disk = cocosArgs(qemuWith({ MANAGER_QEMU_ENABLE_DISK: "true" }), { ...plainVm, diskFile: "/vm/disk.qcow2" });
  expect(disk).not.toContain("-kernel");
  expect(disk).toContain("file=/vm/disk.qcow2,if=none,id=disk0,format=qcow2");
  expect(cocosArgs(qemuWith({}), plainVm).join(" ")).not.toContain("scsi");
});

describe("escaping", () => {
  const anyText = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(..."a,=/ \"'") }));

  test("an independent reader gets every value back", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.stringMatching(/^[a-z][a-z-]{0,8}$/), anyText), { minLength: 1, maxLength: 6 }),
        (pairs) => {
          expect(readOption(qemuOption("escaped", "driver", pairs))).toEqual({ first: "driver", pairs });
        },
      ),
    );
  });

  test("values without a comma are written as Cocos writes them", () => {
    fc.assert(
      fc.property(
        anyText.filter((text) => !text.includes(",")),
        (value) => {
          expect(qemuOption("escaped", "x", [["k", value]])).toBe(qemuOption("verbatim", "x", [["k", value]]));
        },
      ),
    );
  });

  test("no path of a VM or of the operator becomes an option of its own", () => {
    fc.assert(
      fc.property(
        anyText.filter((text) => text !== ""),
        (path) => {
          const qemu = qemuWith({});
          const odd = {
            ...qemu,
            ovmfCode: { ...qemu.ovmfCode, file: path },
            virtioNet: { ...qemu.virtioNet, romFile: path },
          };
          const args = cocosArgs(odd, { ...plainVm, ovmfVarsFile: path, certsDir: path, envDir: path });
          const read = (option: string, n: number) => new Map(readOption(valueAfter(args, option, n) ?? "").pairs);
          expect(read("-drive", 0).get("file")).toBe(path);
          expect(read("-drive", 1)).toEqual(
            new Map([
              ["if", "pflash"],
              ["format", "raw"],
              ["unit", "1"],
              ["file", path],
            ]),
          );
          expect(read("-device", 0).get("romfile")).toBe(path);
          expect(read("-fsdev", 0)).toEqual(
            new Map([
              ["id", "cert_fs"],
              ["path", path],
              ["security_model", "mapped"],
            ]),
          );
          expect(read("-fsdev", 1).get("path")).toBe(path);
        },
      ),
    );
  });

  test("an id inside JSON stays an id", () => {
    const qemu = qemuWith({});
    const args = cocosArgs({ ...qemu, tdx: { ...qemu.tdx, id: 'a"b' } }, { ...plainVm, tee: "tdx" });
    const object: unknown = JSON.parse(valueAfter(args, "-object") ?? "");
    expect(object).toMatchObject({ "qom-type": "tdx-guest", id: 'a"b' });
  });

  test("what the operator writes as a list of options stays one", () => {
    expect(valueAfter(cocosArgs(qemuWith({ MANAGER_QEMU_CPU: "host,+invtsc" }), plainVm), "-cpu")).toBe("host,+invtsc");
  });
});
