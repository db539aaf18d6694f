import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LaunchFailure } from "../../../src/contract/causes.ts";
import { decideGpu, decideTee, describeTee, detectGpu, detectTee } from "../../../src/qemu/host-detection.ts";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "host-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function put(files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}

describe("detection", () => {
  test("a host without the files has nothing", () => {
    expect(detectTee(root)).toEqual({ sevSnp: false, tdx: false });
    expect(detectGpu(root)).toBeUndefined();
  });

  test.each([
    ["flags: sev sev_es sev_snp\n", "Y\n", true],
    ["flags: sev sev_es sev_snp\n", " Y ", true],
    ["flags: sev sev_es sev_snp\n", "N\n", false],
    ["flags: sev sev_es sev_snp\n", "1\n", false],
    ["flags: sev sev_es\n", "Y\n", false],
  ])("SEV-SNP needs the processor's flag and the module's Y: %j with %j", (cpuinfo, parameter, sevSnp) => {
    put({ "proc/cpuinfo": cpuinfo, "sys/module/kvm_amd/parameters/sev_snp": parameter });
    expect(detectTee(root)).toEqual({ sevSnp, tdx: false });
  });

  test("TDX needs its own flag and module", () => {
    put({ "proc/cpuinfo": "flags: tdx_host_platform", "sys/module/kvm_intel/parameters/tdx": "Y\n" });
    expect(detectTee(root)).toEqual({ sevSnp: false, tdx: true });
  });

  test("the GPU is the first NVIDIA display device bound to vfio-pci, by name", () => {
    const driver = "sys/bus/pci/drivers/vfio-pci";
    const device = (name: string, vendor: string, deviceClass: string) =>
      put({ [`${driver}/${name}/vendor`]: `${vendor}\n`, [`${driver}/${name}/class`]: `${deviceClass}\n` });
    put({ [`${driver}/new_id`]: "" });
    device("0000:01:00.0", "0x1002", "0x030000"); // not NVIDIA
    device("0000:21:00.1", "0x10de", "0x040300"); // its sound
    device("nvidia", "0x10de", "0x030200"); // no address
    device("0000:c1:00.0", "0x10de", "0x030200");
    device("0000:41:00.0", "0x10de", "0x030000");
    expect(detectGpu(root)).toBe("0000:41:00.0");
  });
});

describe("the decision", () => {
  const snpHost = { sevSnp: true, tdx: false };
  const bareHost = { sevSnp: false, tdx: false };
  const open = { enableSevSnp: undefined, enableTdx: undefined };

  test("an open wish takes what the host has", () => {
    expect(decideTee(open, snpHost)).toEqual({ kind: "snp" });
    expect(decideTee(open, { sevSnp: false, tdx: true })).toEqual({ kind: "tdx" });
    expect(decideTee(open, bareHost)).toEqual({ kind: "none" });
  });

  test("what is switched off is named", () => {
    const tee = decideTee({ ...open, enableSevSnp: false }, snpHost);
    expect(describeTee(tee)).toBe("none (switched off by MANAGER_QEMU_ENABLE_SEV_SNP)");
    expect(describeTee(decideTee({ ...open, enableTdx: false }, { sevSnp: false, tdx: true }))).toBe(
      "none (switched off by MANAGER_QEMU_ENABLE_TDX)",
    );
  });

  test("switching off what the host lacks changes nothing and needs no note", () => {
    expect(decideTee({ enableSevSnp: false, enableTdx: false }, bareHost)).toEqual({ kind: "none" });
    expect(describeTee({ kind: "none" })).toBe("none");
  });

  test("asking for what the host lacks fails before a launch, with the cause tee_unsupported", () => {
    const ask = () => decideTee({ ...open, enableTdx: true }, snpHost);
    expect(ask).toThrow(LaunchFailure);
    expect(ask).toThrow("MANAGER_QEMU_ENABLE_TDX is true, but this host does not offer TDX");
    try {
      ask();
    } catch (error) {
      expect(error instanceof LaunchFailure && error.failure.code).toBe("tee_unsupported");
    }
  });

  test("a wish goes before detection", () => {
    expect(decideTee({ ...open, enableTdx: true }, { sevSnp: true, tdx: true })).toEqual({ kind: "tdx" });
  });

  test("the operator's GPU goes before the detected one", () => {
    expect(decideGpu("0000:42:00.0", "0000:41:00.0")).toBe("0000:42:00.0");
    expect(decideGpu("", "0000:41:00.0")).toBe("0000:41:00.0");
    expect(decideGpu("", undefined)).toBe(false);
  });
});
