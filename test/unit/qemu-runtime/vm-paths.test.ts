import { mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LaunchFailure } from "../../../src/contract/causes.ts";
import {
  listVmDirectories,
  makeVmDirectory,
  removeDiskAndVariables,
  removeGuestFiles,
  removeVmDirectory,
} from "../../../src/qemu/vm-directory.ts";
import { vmPaths } from "../../../src/qemu/vm-paths.ts";

const VM_ID = "0b6f5f1e-0000-4000-8000-000000000001";
let stateDir: string;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "dq-paths-"));
});
afterEach(() => rm(stateDir, { recursive: true, force: true }));

test("every path of a launch stands in its own directory", () => {
  const paths = vmPaths({ stateDir: "/var/lib/drover", vmId: VM_ID, epoch: 3 });
  expect(paths.dir).toBe(`/var/lib/drover/vms/${VM_ID}/3`);
  for (const path of Object.values(paths)) expect(path.startsWith(paths.dir)).toBe(true);
  expect(paths.disk).toBe(`${paths.dir}/disk.qcow2`);
});

test.each([["../../etc"], ["%2e%2e"], [""], [VM_ID.toUpperCase()], [`${VM_ID}/..`], [`${VM_ID}\0`]])(
  "a vmId that is no UUID never becomes a path: %j",
  (vmId) => {
    expect(() => vmPaths({ stateDir, vmId, epoch: 1 })).toThrow(TypeError);
  },
);

test("epoch, state directory and disk format cannot lead out of the directory either", () => {
  expect(() => vmPaths({ stateDir, vmId: VM_ID, epoch: 0 })).toThrow(TypeError);
  expect(() => vmPaths({ stateDir, vmId: VM_ID, epoch: 1.5 })).toThrow(TypeError);
  expect(() => vmPaths({ stateDir: "state", vmId: VM_ID, epoch: 1 })).toThrow(TypeError);
  expect(() => vmPaths({ stateDir, vmId: VM_ID, epoch: 1, diskFormat: "/../x" })).toThrow(TypeError);
});

test("a state directory that is too long for a socket is refused before QEMU refuses it", () => {
  expect(() => vmPaths({ stateDir: `/${"d".repeat(60)}`, vmId: VM_ID, epoch: 1 })).toThrow(LaunchFailure);
});

test("a directory is for its owner only, is listed, and goes with its VM's when it was the last", async () => {
  const first = vmPaths({ stateDir, vmId: VM_ID, epoch: 1 });
  const second = vmPaths({ stateDir, vmId: VM_ID, epoch: 12 });
  await makeVmDirectory(first);
  await makeVmDirectory(second);
  await makeVmDirectory(second);
  expect((await stat(first.dir)).mode & 0o777).toBe(0o700);
  await mkdir(join(stateDir, "vms", "not-a-vm"));
  await writeFile(join(stateDir, "vms", VM_ID, "lock"), "");
  expect(await listVmDirectories(stateDir)).toEqual(
    expect.arrayContaining([
      { vmId: VM_ID, epoch: 1 },
      { vmId: VM_ID, epoch: 12 },
    ]),
  );
  await removeVmDirectory(first);
  expect(await readdir(join(stateDir, "vms", VM_ID))).toEqual(["12", "lock"]);
  await rm(join(stateDir, "vms", VM_ID, "lock"));
  await removeVmDirectory(second);
  await removeVmDirectory(second);
  expect(await readdir(join(stateDir, "vms"))).toEqual(["not-a-vm"]);
});

test("nothing is listed where no VM has ever been", async () => {
  expect(await listVmDirectories(join(stateDir, "fresh"))).toEqual([]);
});

test("a planted link is deleted and not followed", async () => {
  const paths = vmPaths({ stateDir, vmId: VM_ID, epoch: 1 });
  await makeVmDirectory(paths);
  const outside = join(stateDir, "outside");
  await mkdir(outside);
  await writeFile(join(outside, "keep"), "");
  await symlink(outside, paths.certsDir);
  await symlink(outside, paths.ovmfVars);
  await removeGuestFiles(paths);
  await removeDiskAndVariables(paths);
  expect(await readdir(paths.dir)).toEqual([]);
  expect(await readdir(outside)).toEqual(["keep"]);
});
