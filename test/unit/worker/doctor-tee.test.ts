import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";
import type { Check } from "../../../src/worker/doctor/check.ts";
import { gpuChecks } from "../../../src/worker/doctor/gpu-checks.ts";
import { type GpuFacts, readGpuFacts } from "../../../src/worker/doctor/gpu-facts.ts";
import { privilegeChecks } from "../../../src/worker/doctor/privilege-checks.ts";
import { opensAnyDevice } from "../../../src/worker/doctor/qemu-rights.ts";
import { teeChecks } from "../../../src/worker/doctor/tee-checks.ts";
import { readTeeFacts } from "../../../src/worker/doctor/tee-facts.ts";

const NOBODY = 65_534;
const SNP_CPU = "flags\t\t: fpu sev sev_es sev_snp\n";
const TDX_CPU = "flags\t\t: fpu tdx_host_platform\n";
/** A machine with SEV-SNP, all set up. */
const SNP_HOST = {
  "proc/cpuinfo": SNP_CPU,
  "sys/module/kvm_amd/parameters/sev": "Y\n",
  "sys/module/kvm_amd/parameters/sev_es": "Y\n",
  "sys/module/kvm_amd/parameters/sev_snp": "Y\n",
  "sys/fs/cgroup/misc.capacity": "sev 410\nsev_es 99\n",
  "dev/sev": "",
};
const TDX_HOST = {
  "proc/cpuinfo": TDX_CPU,
  "sys/module/kvm_intel/parameters/tdx": "Y\n",
  "sys/fs/cgroup/misc.capacity": "tdx 63\n",
  "sys/module/vsock_loopback/refcnt": "0\n",
};
const NEW_QEMU = ["igvm-cfg", "memory-backend-memfd", "sev-guest", "sev-snp-guest", "tdx-guest"];
const OLD_QEMU = ["memory-backend-memfd", "sev-guest"];
const BDF = "0000:41:00.0";
const PCI = "sys/bus/pci";

type Files = Readonly<Record<string, string>>;

/** A root directory with these files; a text that begins with "-> " is a link. */
function root(files: Files): string {
  const directory = mkdtempSync(join(tmpdir(), "dt-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    const file = join(directory, path);
    mkdirSync(dirname(file), { recursive: true });
    if (text.startsWith("-> ")) symlinkSync(text.slice(3), file);
    else writeFileSync(file, text);
  }
  return directory;
}

/** A program that says of itself what a QEMU with these objects says. */
function qemuWith(objects: readonly string[]): string {
  const file = join(root({ qemu: "" }), "qemu");
  writeFileSync(
    file,
    `#!/bin/sh\nprintf '%s\\n' 'List of user creatable objects:' ${objects.map((name) => `'  ${name}'`).join(" ")}\n`,
  );
  chmodSync(file, 0o755);
  return file;
}

async function tee(files: Files, env: Record<string, string> = {}, objects = NEW_QEMU): Promise<readonly Check[]> {
  const { config } = loadConfig({ MANAGER_QEMU_BIN_PATH: qemuWith(objects), ...env }, { isRoot: true });
  return teeChecks(await readTeeFacts(config, root(files)));
}

const summary = (checks: readonly Check[]) => checks.map(({ id, status }) => `${status} ${id}`);
const todoOf = (checks: readonly Check[], id: string) => checks.find((check) => check.id === id)?.todo;

test("a host with SEV-SNP is looked at whole: device, ASIDs, and what QEMU can make", async () => {
  expect(summary(await tee(SNP_HOST))).toEqual(["ok tee", "ok tee_qemu", "ok tee_keys", "ok sev_device"]);
});

test("a host with TDX needs vsock and a QEMU that gives the host's own processor", async () => {
  const checks = await tee(TDX_HOST, { MANAGER_QEMU_CPU: "host,-kvm-steal-time" });
  expect(summary(checks)).toEqual(["ok tee", "ok tee_qemu", "ok tee_keys", "ok tdx_cpu", "ok tdx_vsock"]);
  const { "sys/module/vsock_loopback/refcnt": _vsock, ...withoutVsock } = TDX_HOST;
  const bad = await tee(withoutVsock);
  expect(summary(bad)).toEqual(["ok tee", "ok tee_qemu", "ok tee_keys", "problem tdx_cpu", "warning tdx_vsock"]);
  expect(todoOf(bad, "tdx_cpu")).toContain("MANAGER_QEMU_CPU=host");
});

test("a plain host, and one where the TEE is switched off, have nothing to say or say so", async () => {
  expect(await tee({ "proc/cpuinfo": "flags: fpu\n" })).toEqual([]);
  const off = await tee(SNP_HOST, { MANAGER_QEMU_ENABLE_SEV_SNP: "false" });
  expect(summary(off)).toEqual(["ok tee"]);
  expect(off[0]?.text).toContain("switched off by MANAGER_QEMU_ENABLE_SEV_SNP");
});

test.each<[string, Files, RegExp]>([
  ["the module is not loaded", { "proc/cpuinfo": SNP_CPU }, /load kvm_amd/],
  [
    "a parameter is off",
    { ...SNP_HOST, "sys/module/kvm_amd/parameters/sev_snp": "N\n" },
    /load kvm_amd with sev_snp=1 .*iommu=nopt/,
  ],
  ["TDX is off", { "proc/cpuinfo": TDX_CPU, "sys/module/kvm_intel/parameters/tdx": "N\n" }, /kvm_intel with tdx=1/],
])("hardware that lies idle because %s is a warning with the way to it", async (_why, files, todo) => {
  const checks = await tee(files);
  expect(summary(checks)).toEqual(["warning tee"]);
  expect(todoOf(checks, "tee")).toMatch(todo);
});

test("a TEE that was asked for and is not there is a problem, and what else it needs is said with it", async () => {
  const snp = await tee({ "proc/cpuinfo": "" }, { MANAGER_QEMU_ENABLE_SEV_SNP: "true" }, OLD_QEMU);
  expect(summary(snp)).toEqual(["problem tee", "problem tee_qemu", "problem sev_device"]);
  expect(todoOf(snp, "tee")).toMatch(/MANAGER_QEMU_ENABLE_SEV_SNP to false, or: switch SEV-SNP .* firmware/);
  expect(snp[1]?.text).toBe("QEMU lacks sev-snp-guest, igvm-cfg for SEV-SNP guests");
  const tdx = await tee({}, { MANAGER_QEMU_ENABLE_TDX: "true", MANAGER_QEMU_CPU: "host" });
  expect(summary(tdx)).toEqual(["problem tee", "ok tee_qemu", "ok tdx_cpu", "warning tdx_vsock"]);
});

test("the QEMU of this machine says whether it can make such guests", async () => {
  const checks = await tee(SNP_HOST, { MANAGER_QEMU_BIN_PATH: "qemu-system-x86_64" });
  expect(checks.map(({ id }) => id)).toContain("tee_qemu");
});

test.each<[string, Files, Record<string, string>, string]>([
  ["no ASID", { "sys/fs/cgroup/misc.capacity": "sev 509\nsev_es 0\n" }, {}, "problem tee_keys"],
  ["fewer ASIDs than VMs", { "sys/fs/cgroup/misc.capacity": "sev_es 4\n" }, {}, "warning tee_keys"],
  ["any number of VMs", {}, { MANAGER_MAX_VMS: "0" }, "warning tee_keys"],
  ["KVM switched off", {}, { MANAGER_QEMU_ENABLE_KVM: "false" }, "problem tee_kvm"],
])("on a host with SEV-SNP, %s is seen", async (_why, files, env, seen) => {
  const checks = await tee({ ...SNP_HOST, ...files }, env);
  expect(summary(checks)).toContain(seen);
  for (const { status, todo } of checks) if (status !== "ok") expect(todo).toBeTruthy();
});

test("/dev/sev that is missing, or not for this user, are two problems with two ways out", async () => {
  const { "dev/sev": _device, ...without } = SNP_HOST;
  expect(todoOf(await tee(without), "sev_device")).toContain("module ccp");
  const facts = await readTeeFacts(loadConfig({}, { isRoot: true }).config, root(SNP_HOST));
  const closed = teeChecks({ ...facts, sevDeviceErrno: "EACCES" });
  expect(todoOf(closed, "sev_device")).toContain("udev");
});

/** A machine with a GPU on vfio-pci, alone in its group but for the bridge before it. */
const GPU_HOST: Files = {
  [`${PCI}/devices/${BDF}/vendor`]: "0x10de\n",
  [`${PCI}/devices/${BDF}/class`]: "0x030200\n",
  [`${PCI}/devices/${BDF}/driver`]: `-> ../../drivers/vfio-pci`,
  [`${PCI}/devices/${BDF}/iommu_group`]: "-> ../../../../kernel/iommu_groups/12",
  [`${PCI}/drivers/vfio-pci/${BDF}`]: `-> ../../devices/${BDF}`,
  [`${PCI}/devices/0000:40:01.0/driver`]: "-> ../../drivers/pcieport",
  [`sys/kernel/iommu_groups/12/devices/${BDF}`]: "",
  "sys/kernel/iommu_groups/12/devices/0000:40:01.0": "",
  "dev/vfio/12": "",
};
const AUDIO = "0000:41:00.1";

async function gpu(files: Files, env: Record<string, string> = {}): Promise<GpuFacts | undefined> {
  return readGpuFacts(loadConfig(env, { isRoot: true }).config, root(files));
}

test("a GPU on vfio-pci that may be opened is fine, found or named, with or without its domain", async () => {
  expect(summary(gpuChecks(await gpu(GPU_HOST)))).toEqual(["ok gpu"]);
  expect(gpuChecks(await gpu(GPU_HOST, { MANAGER_QEMU_GPU_BDF: "41:00.0" }))[0]?.text).toBe(
    "GPU 41:00.0 can be given to a VM",
  );
  expect(gpuChecks(await gpu({}))).toEqual([]);
});

test.each<[string, Files, RegExp]>([
  ["that is not there", { "proc/x": "" }, /there is no PCI device/],
  ["without an IOMMU", { [`${PCI}/devices/${BDF}/vendor`]: "0x10de" }, /no IOMMU group/],
  [
    "that the host's driver holds",
    { ...GPU_HOST, [`${PCI}/devices/${BDF}/driver`]: "-> ../../drivers/nvidia" },
    /bound to nvidia, not to vfio-pci/,
  ],
  [
    "whose sound is the host's",
    {
      ...GPU_HOST,
      [`sys/kernel/iommu_groups/12/devices/${AUDIO}`]: "",
      [`${PCI}/devices/${AUDIO}/driver`]: "-> ../../drivers/snd_hda_intel",
    },
    /snd_hda_intel of the host holds 0000:41:00\.1/,
  ],
])("a GPU %s is a problem that says why", async (_why, files, says) => {
  const [check] = gpuChecks(await gpu(files, { MANAGER_QEMU_GPU_BDF: BDF }));
  expect(check).toMatchObject({ id: "gpu", status: "problem", text: expect.stringMatching(says) });
  expect(check?.todo).toBeTruthy();
});

test("what is to be typed has the GPU's whole address", async () => {
  const host = { ...GPU_HOST, [`${PCI}/devices/${BDF}/driver`]: "-> ../../drivers/nvidia" };
  const [check] = gpuChecks(await gpu(host, { MANAGER_QEMU_GPU_BDF: "41:00.0" }));
  expect(check?.todo).toBe(`driverctl set-override ${BDF} vfio-pci`);
  const named = { [`${PCI}/devices/0000:c1:00.0/x`]: "" };
  expect(await gpu(named, { MANAGER_QEMU_GPU_BDF: "C1:00.0" }), "in either case").toMatchObject({ exists: true });
});

test("neither a closed group nor a low limit of locked memory goes unseen", async () => {
  const facts = await gpu(GPU_HOST);
  if (facts === undefined) throw new Error("the GPU was not found");
  expect(summary(gpuChecks({ ...facts, deviceErrno: "EACCES" }))).toEqual(["problem gpu"]);
  const limits = {
    "proc/self/limits": "Max locked memory         8388608              8388608              bytes     \n",
  };
  const low = gpuChecks(await gpu({ ...GPU_HOST, ...limits }, { DROVER_QEMU_USER: "nobody" }));
  expect(summary(low)).toEqual(["ok gpu", "problem gpu_memlock"]);
  expect(low[1]?.todo).toContain("LimitMEMLOCK=infinity");
  const sudo = await gpu({ ...GPU_HOST, ...limits }, { MANAGER_QEMU_USE_SUDO: "true" });
  expect(summary(gpuChecks(sudo)), "sudo leaves QEMU the right to lock memory").toEqual(["ok gpu"]);
});

test.each<[string, Record<string, string>, number, boolean]>([
  ["root", {}, 0, true],
  ["root, for DROVER_QEMU_USER", { DROVER_QEMU_USER: "nobody" }, 0, false],
  ["somebody", {}, NOBODY, false],
  ["somebody with sudo", { MANAGER_QEMU_USE_SUDO: "true" }, NOBODY, true],
])("a QEMU of %s: whether it opens devices that are closed to others", (_who, env, uid, opens) => {
  expect(opensAnyDevice(loadConfig(env, { isRoot: true }).config, uid)).toBe(opens);
});

test.runIf(process.getuid?.() === 0)("a device that is closed to DROVER_QEMU_USER is a problem", async () => {
  const state = root({ "drover/x": "", "dev/sev": "" });
  chmodSync(state, 0o755);
  chmodSync(join(state, "dev/sev"), 0o600);
  const env = { DROVER_QEMU_USER: "nobody", DROVER_STATE_DIR: join(state, "drover"), MANAGER_QEMU_ENABLE_KVM: "false" };
  const { config } = loadConfig(env, { isRoot: true });
  const checks = await privilegeChecks(config, { files: [], devices: [join(state, "dev/sev")] });
  expect(checks[0]).toMatchObject({ status: "problem", text: expect.stringMatching(/nobody, who may not use .*sev$/) });
  chmodSync(join(state, "dev/sev"), 0o666);
  expect(await privilegeChecks(config, { files: [], devices: [join(state, "dev/sev")] })).toContainEqual(
    expect.objectContaining({ id: "qemu_user", status: "ok" }),
  );
});
