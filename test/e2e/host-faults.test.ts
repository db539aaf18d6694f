import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, describe, expect, test } from "vitest";
import type { CauseCode } from "../../src/contract/causes.ts";
import type { VmDetail } from "../../src/contract/vm-view.ts";
import { HostDescription } from "../../src/queue/host-description.ts";
import { HostRegistry } from "../../src/queue/host-registry.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";

const files = mkdtempSync(join(tmpdir(), "drv-faults-"));
const host = sharedDrover({ rom: "idle", worker: false });
afterAll(() => rmSync(files, { recursive: true, force: true }));

/** One VM on a host with these variables, to its failure. */
async function failOn(env: Record<string, string>): Promise<VmDetail> {
  const worker = await host().runWorker(env);
  try {
    return await host().until(await host().submit(), "failed");
  } finally {
    await worker.stop("stop");
  }
}

const garbage = (name: string, text: string): string => {
  writeFileSync(join(files, name), text, "latin1");
  return join(files, name);
};
const OVMF = { DROVER_FIRMWARE: "ovmf", MANAGER_QEMU_MACHINE: "q35" };
const DISK = { MANAGER_QEMU_ENABLE_DISK: "true" };

interface Fault {
  readonly what: string;
  readonly env: () => Record<string, string>;
  readonly code: CauseCode;
  /** What QEMU said, where it got so far. */
  readonly says?: RegExp;
  readonly attempts?: number;
}

const faults: readonly Fault[] = [
  {
    what: "a kernel that is not there",
    env: () => ({ MANAGER_QEMU_DISK_IMG_KERNEL_FILE: "/nope/bzImage" }),
    code: "kernel_missing",
    says: /could not open kernel file '\/nope\/bzImage'/,
  },
  {
    what: "a kernel that is none",
    env: () => ({ MANAGER_QEMU_DISK_IMG_KERNEL_FILE: garbage("bzImage", "no kernel") }),
    code: "kernel_invalid",
    says: /invalid kernel header|linux kernel too old/,
  },
  {
    what: "a RAM disk that is not there",
    env: () => ({ MANAGER_QEMU_DISK_IMG_ROOTFS_FILE: "/nope/rootfs" }),
    code: "initrd_missing",
    says: /error reading initrd/,
  },
  {
    what: "firmware that is not there",
    env: () => ({ ...OVMF, MANAGER_QEMU_OVMF_CODE_FILE: "/nope/OVMF_CODE.fd" }),
    code: "firmware_missing",
    says: /Could not open '\/nope\/OVMF_CODE.fd'/,
  },
  {
    what: "firmware variables that are not there",
    env: () => ({ ...OVMF, MANAGER_QEMU_OVMF_VARS_FILE: "/nope/OVMF_VARS.fd" }),
    code: "firmware_missing",
  },
  {
    what: "a QEMU that is not there",
    env: () => ({ MANAGER_QEMU_BIN_PATH: "/nope/qemu-system-x86_64" }),
    code: "qemu_missing",
  },
  {
    what: "a disk image that is not there",
    env: () => ({ ...DISK, MANAGER_QEMU_SRC_DISK_FILE: "/nope/disk.qcow2" }),
    code: "disk_source_missing",
  },
  {
    what: "a disk image that is damaged",
    env: () => ({ ...DISK, MANAGER_QEMU_SRC_DISK_FILE: garbage("disk.qcow2", "QFI\u00fb and nothing more") }),
    code: "image_invalid",
  },
  {
    what: "more memory than the host has",
    env: () => ({ MANAGER_QEMU_MEMORY_SIZE: "500G", MANAGER_QEMU_MAX_MEMORY: "501G" }),
    code: "memory_exhausted",
    says: /cannot set up guest memory/,
    attempts: 3,
  },
  {
    what: "a machine that QEMU does not know",
    env: () => ({ MANAGER_QEMU_MACHINE: "frobnicator" }),
    code: "qemu_option_invalid",
    says: /unsupported machine type/,
  },
  {
    what: "a processor that QEMU does not know",
    env: () => ({ MANAGER_QEMU_CPU: "frobnicator" }),
    code: "cpu_unsupported",
    says: /unable to find CPU model/,
  },
];

describe("on a lone host a VM fails with the cause, and leaves nothing:", () => {
  for (const { what, env, code, says, attempts = 1 } of faults) {
    test(`${what} is ${code}`, async () => {
      const vm = await failOn(env());
      expect(vm).toMatchObject({ cause: { code, fault: "host" }, attempts: { made: attempts }, epoch: attempts });
      expect(vm.launches.every(({ cause }) => cause?.code === code)).toBe(true);
      if (says === undefined) return;
      expect(vm.cause?.message).toMatch(says);
      expect(vm.tail?.qemu).toMatch(says);
      expect(vm.command).toContain("-uuid");
    });
  }

  test("a disk image that somebody else writes to is disk_locked", async () => {
    const image = join(files, "locked.qcow2");
    await execa("qemu-img", ["create", "-q", "-f", "qcow2", image, "64M"]);
    const monitor = ["-monitor", "none", "-display", "none", "-nodefaults"];
    const writer = execa(
      "qemu-system-x86_64",
      [
        "-machine",
        "none",
        "-S",
        ...monitor,
        "-blockdev",
        `driver=qcow2,node-name=d,file.driver=file,file.filename=${image}`,
        "-qmp",
        "stdio",
      ],
      { reject: false, stdin: "pipe" },
    );
    try {
      // Its greeting comes once the image is open.
      await new Promise((resolve) => writer.stdout.once("data", resolve));
      const vm = await failOn({ ...DISK, MANAGER_QEMU_SRC_DISK_FILE: image });
      expect(vm).toMatchObject({ cause: { code: "disk_locked" }, attempts: { made: 3 } });
    } finally {
      writer.kill("SIGKILL");
      await writer;
    }
  });

  test("KVM that cannot be used is kvm_unavailable", async (context) => {
    // A mount namespace without /dev/kvm, whatever the machine has.
    const hidden = join(files, "qemu-without-kvm");
    const script = `mount --bind /dev/null /dev/kvm 2>/dev/null; exec qemu-system-x86_64 "$@"`;
    writeFileSync(hidden, `#!/bin/sh\nexec unshare --mount --map-root-user sh -c '${script}' sh "$@"\n`, {
      mode: 0o755,
    });
    const works = await execa("unshare", ["--mount", "--map-root-user", "true"], { reject: false });
    if (works.failed) return context.skip("no user namespaces here");
    const vm = await failOn({ MANAGER_QEMU_ENABLE_KVM: "true", MANAGER_QEMU_BIN_PATH: hidden });
    expect(vm).toMatchObject({ cause: { code: "kvm_unavailable", fault: "host" }, attempts: { made: 1 } });
  });
});

test("where another host lives, the VM goes back to the queue without using an attempt and keeps away from here", async () => {
  const registry = new HostRegistry({ redis: host().client, keys: host().keys });
  const other = HostDescription.parse({
    ...{
      v: 1,
      hostId: "other",
      stateId: "s",
      bootId: "b",
      pid: 1,
      version: "0",
      address: "10.0.0.2",
      pools: ["default"],
    },
    ...{ slots: 1, ports: { first: 6100, last: 6200 }, tee: "none", accel: "kvm", startedAtMs: 1 },
  });
  await registry.take(other, 60_000);
  const worker = await host().runWorker({ MANAGER_QEMU_DISK_IMG_KERNEL_FILE: "/nope/bzImage" });
  const vmId = await host().submit();
  const { data } = await host().untilEvent(vmId, "vm.queued", 2);
  expect(data).toMatchObject({ reason: "requeued", cause: { code: "kernel_missing" } });
  expect(await host().get(vmId)).toMatchObject({
    state: "queued",
    attempts: { made: 0 },
    cause: { code: "kernel_missing" },
  });
  // Only this host lives in truth, so that it is offered the VM again, and passes it on unlaunched.
  const fetches = () => host().client.hget(host().keys.bull("vm.default", vmId), "ats");
  await expect.poll(async () => Number(await fetches()), { timeout: 10_000 }).toBeGreaterThanOrEqual(2);
  const launches = (await host().events(vmId)).filter(({ type }) => type === "vm.preparing");
  expect(launches).toHaveLength(1);
  await registry.withdraw(other);
  await host().client.del(host().keys.host("other"));
  await host().client.srem(host().keys.hosts, "other");
  await worker.stop("stop");
});
