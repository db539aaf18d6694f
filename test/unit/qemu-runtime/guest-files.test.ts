import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { copyFirmwareVars } from "../../../src/qemu/firmware-vars.ts";
import { writeGuestFiles } from "../../../src/qemu/guest-files.ts";
import { makeVmDirectory } from "../../../src/qemu/vm-directory.ts";
import { type VmPaths, vmPaths } from "../../../src/qemu/vm-paths.ts";

const VM_ID = "0b6f5f1e-0000-4000-8000-000000000001";
const GUEST = { vmId: VM_ID, spec: { agentLogLevel: "debug" }, secrets: { agentCvmClientKey: "S0s=" } };
let stateDir: string;
let paths: VmPaths;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "dq-files-"));
  paths = vmPaths({ stateDir, vmId: VM_ID, epoch: 1 });
  await makeVmDirectory(paths);
});
afterEach(() => rm(stateDir, { recursive: true, force: true }));

const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

test("both shares are there, all three certificates too, and nobody else can read them", async () => {
  const before = process.umask(0);
  try {
    await writeGuestFiles(paths, GUEST);
  } finally {
    process.umask(before);
  }
  expect(await readFile(paths.environment, "utf8")).toContain(`AGENT_CVM_ID=${VM_ID}\n`);
  expect(await readFile(paths.key, "utf8")).toBe("KK");
  expect(await readFile(paths.cert, "utf8")).toBe("");
  expect(await readFile(paths.ca, "utf8")).toBe("");
  for (const path of [paths.environment, paths.key, paths.cert, paths.ca]) expect(await modeOf(path)).toBe(0o600);
  expect(await modeOf(paths.environmentDir)).toBe(0o700);
  expect(await modeOf(paths.certsDir)).toBe(0o700);
});

test("a link that waits in the directory is not written through", async () => {
  const target = join(stateDir, "target");
  await mkdir(target);
  await symlink(target, paths.certsDir);
  await expect(writeGuestFiles(paths, GUEST)).rejects.toMatchObject({ failure: { code: "state_dir_unusable" } });
  await expect(stat(join(target, "key.pem"))).rejects.toThrow(/ENOENT/);
});

test("a bad value leaves no file behind", async () => {
  const bad = { ...GUEST, spec: { agentLogLevel: "a\nb" } };
  await expect(writeGuestFiles(paths, bad)).rejects.toMatchObject({ failure: { code: "spec_invalid" } });
  await expect(stat(paths.certsDir)).rejects.toThrow(/ENOENT/);
});

test("firmware variables are copied for one VM only", async () => {
  const source = join(stateDir, "OVMF_VARS.fd");
  await writeFile(source, "variables");
  await chmod(source, 0o444);
  await copyFirmwareVars(source, paths.ovmfVars);
  expect(await readFile(paths.ovmfVars, "utf8")).toBe("variables");
  expect(await modeOf(paths.ovmfVars)).toBe(0o600);
  await expect(copyFirmwareVars(source, paths.ovmfVars)).rejects.toMatchObject({
    failure: { code: "state_dir_unusable" },
  });
  expect(await readFile(paths.ovmfVars, "utf8")).toBe("variables");
});

test("missing firmware variables are the operator's to mend, a missing directory is not", async () => {
  const missing = { failure: { code: "firmware_missing" } };
  await expect(copyFirmwareVars(join(stateDir, "absent.fd"), paths.ovmfVars)).rejects.toMatchObject(missing);
  await expect(copyFirmwareVars(stateDir, paths.ovmfVars)).rejects.toMatchObject(missing);
  const source = join(stateDir, "OVMF_VARS.fd");
  await writeFile(source, "variables");
  await expect(copyFirmwareVars(source, join(stateDir, "absent", "x.fd"))).rejects.toMatchObject({
    failure: { code: "state_dir_unusable" },
  });
});
