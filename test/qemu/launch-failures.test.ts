import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { expect, test } from "vitest";
import type { CauseCode } from "../../src/contract/causes.ts";
import { findByUuid } from "../../src/qemu/process-scan.ts";
import { openVmWorld, STOP_BOUNDS, type VmWorld } from "./support/vm-world.ts";

interface Case {
  readonly cause: CauseCode;
  readonly why: string;
  /** What is added to the command line of a machine that would run. */
  readonly args: (world: VmWorld) => Promise<string[]> | string[];
  /** Part of the message that the operator reads. */
  readonly says: RegExp;
}

/** The failures of qemu-facts section 5 that this QEMU can be made to show without special hardware. */
const CASES: readonly Case[] = [
  { cause: "kernel_missing", why: "no kernel", args: () => ["-kernel", "/nope/vmlinuz"], says: /\/nope\/vmlinuz/ },
  {
    cause: "kernel_invalid",
    why: "a kernel that is none",
    args: async (world) => ["-kernel", await file(world, "kernel", Buffer.alloc(4096, "x"))],
    says: /kernel/,
  },
  {
    cause: "initrd_missing",
    why: "no initrd",
    args: async (world) => ["-kernel", await bzImage(world), "-initrd", "/nope/rd"],
    says: /\/nope\/rd/,
  },
  { cause: "qemu_option_invalid", why: "unknown option", args: () => ["-frobnicate"], says: /invalid option/ },
  {
    cause: "qemu_option_invalid",
    why: "unknown machine",
    args: () => ["-machine", "c64"],
    says: /unsupported machine type/,
  },
  { cause: "qemu_option_invalid", why: "unknown property", args: () => ["-machine", "q35,frob=1"], says: /frob/ },
  { cause: "qemu_option_invalid", why: "unknown device", args: () => ["-device", "frob-pci"], says: /frob-pci/ },
  {
    cause: "qemu_option_invalid",
    why: "slot in use",
    args: () => ["-device", "virtio-rng-pci,addr=0x2", "-device", "virtio-balloon-pci,addr=0x2"],
    says: /slot 2/,
  },
  {
    cause: "qemu_option_invalid",
    why: "bad port",
    args: () => ["-netdev", "user,id=n,hostfwd=tcp::x-:1"],
    says: /host forwarding rule/,
  },
  { cause: "qemu_option_invalid", why: "maxmem below m", args: () => ["-m", "2G,slots=2,maxmem=1G"], says: /maxmem/ },
  { cause: "cpu_unsupported", why: "unknown CPU", args: () => ["-cpu", "EPYC-v99"], says: /EPYC-v99/ },
  { cause: "cpu_unsupported", why: "host CPU without KVM", args: () => ["-cpu", "host"], says: /host/ },
  {
    cause: "memory_exhausted",
    why: "more memory than there can be",
    args: () => ["-object", "memory-backend-ram,id=huge,size=500T"],
    says: /memory|allocate/i,
  },
  {
    cause: "firmware_missing",
    why: "no OVMF",
    args: () => ["-drive", "if=pflash,format=raw,unit=0,file=/nope/OVMF_CODE.fd,readonly=on"],
    says: /OVMF_CODE/,
  },
  {
    cause: "image_invalid",
    why: "firmware of a wrong size",
    args: async (world) => [
      "-drive",
      `if=pflash,format=raw,unit=0,file=${await file(world, "odd.fd", Buffer.alloc(1000))},readonly=on`,
    ],
    says: /size|firmware/,
  },
  {
    cause: "image_invalid",
    why: "a disk that is no qcow2",
    args: async (world) => [
      "-drive",
      `if=none,id=d,format=qcow2,file=${await file(world, "d.qcow2", Buffer.alloc(4096, "x"))}`,
    ],
    says: /qcow2/,
  },
  {
    cause: "state_dir_unusable",
    why: "drover's own disk is gone",
    args: (world) => ["-drive", `if=none,id=d,format=qcow2,file=${world.paths.disk}`],
    says: /<vm>\/disk\.qcow2/,
  },
  {
    cause: "state_dir_unusable",
    why: "a share is gone",
    args: (world) => [
      "-fsdev",
      `local,id=e,path=${world.paths.environmentDir},security_model=mapped`,
      "-device",
      "virtio-9p-pci,fsdev=e,mount_tag=e",
    ],
    says: /<vm>\/env/,
  },
  {
    cause: "state_dir_unusable",
    why: "no place for a socket",
    args: () => ["-qmp", "unix:/nope/q.sock,server=on,wait=off"],
    says: /socket/,
  },
  {
    cause: "tee_unsupported",
    why: "no SEV-SNP in this QEMU",
    args: () => ["-object", "sev-snp-guest,id=sev0,cbitpos=51,reduced-phys-bits=1"],
    says: /sev-snp-guest/,
  },
  {
    cause: "tee_unsupported",
    why: "no TDX in this QEMU",
    args: () => ["-object", '{"qom-type":"tdx-guest","id":"tdx0"}'],
    says: /tdx-guest/,
  },
  {
    cause: "tee_unsupported",
    why: "SEV without KVM: QEMU aborts",
    args: () => [
      "-machine",
      "q35,confidential-guest-support=sev0",
      "-object",
      "sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1",
    ],
    says: /cgs->ready|sev/,
  },
  {
    cause: "device_unavailable",
    why: "no such GPU",
    args: () => ["-device", "vfio-pci,host=ffff:1f:1f.7"],
    says: /vfio/,
  },
];

test.each(CASES)("$cause: $why", async ({ cause, args, says }) => {
  await using world = await openVmWorld();
  const starting = world.start([...(await world.args("idle")), ...(await args(world))]);
  await expect(starting).rejects.toMatchObject({ failure: { code: cause, message: expect.stringMatching(says) } });
  expect(findByUuid(world.vmId)).toEqual([]);
});

test("disk_locked: another VM has the disk", async () => {
  await using world = await openVmWorld();
  await using other = await openVmWorld();
  const image = join(world.stateDir, "shared.qcow2");
  await execa("qemu-img", ["create", "-q", "-f", "qcow2", image, "1M"]);
  const drive = ["-drive", `if=none,id=d,format=qcow2,file=${image}`, "-device", "virtio-blk-pci,drive=d"];
  const holder = await other.start([...(await other.args("idle")), ...drive]);
  const starting = world.start([...(await world.args("idle")), ...drive]);
  await expect(starting).rejects.toMatchObject({ failure: { code: "disk_locked" } });
  await holder.stop({ bounds: { ...STOP_BOUNDS, powerdownMs: 0 } });
});

test("kvm_unavailable: KVM was asked for and cannot be opened; a fallback to TCG is no failure", async () => {
  await using world = await openVmWorld();
  const withAccel = async (accel: string) => (await world.args("idle")).map((arg) => (arg === "tcg" ? accel : arg));
  const strict = await world.start(await withAccel("kvm")).catch((error: unknown) => error);
  if ("failure" in Object(strict)) expect(strict).toMatchObject({ failure: { code: "kvm_unavailable" } });
  else return; // this machine has KVM
  await world.start(await withAccel("kvm:tcg"));
});

async function file(world: VmWorld, name: string, content: Buffer): Promise<string> {
  const directory = join(world.stateDir, "operator");
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, name), content);
  return join(directory, name);
}

/** The least that QEMU takes for a bzImage: it reads the header (boot protocol 2.15) and never runs it. */
function bzImage(world: VmWorld): Promise<string> {
  const image = Buffer.alloc(8192);
  image[0x1f1] = 1; // setup sectors
  image.write("HdrS", 0x202, "latin1");
  image.writeUInt16LE(0x20f, 0x206);
  image[0x211] = 1; // loaded high
  image.writeUInt32LE(0x7fffffff, 0x22c); // highest address of an initrd
  return file(world, "bzImage", image);
}
