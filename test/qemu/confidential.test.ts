import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { CauseCode } from "../../src/contract/causes.ts";
import { exampleValues, vmCommand } from "../../src/qemu/vm-command.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { freePort, openVmWorld, STOP_BOUNDS, type VmWorld } from "./support/vm-world.ts";

const OVMF = "/usr/share/OVMF/OVMF_CODE.fd";

interface Wanted {
  readonly tee: "none" | "snp" | "tdx";
  readonly gpu?: string;
}

/** The whole command of one VM, as a worker makes it, on files of its own. The SEV-SNP and TDX parts are Cocos's. */
async function command(world: VmWorld, { tee, gpu = "" }: Wanted): Promise<string[]> {
  const files = join(world.stateDir, "operator");
  await mkdir(files);
  const file = async (name: string, bytes: Buffer) => {
    await writeFile(join(files, name), bytes);
    return join(files, name);
  };
  const { config } = loadConfig({
    DROVER_STATE_DIR: world.stateDir,
    MANAGER_QEMU_ENABLE_KVM: "false",
    MANAGER_QEMU_CPU: "qemu64",
    MANAGER_QEMU_MEMORY_SIZE: "64M",
    MANAGER_QEMU_MAX_MEMORY: "128M",
    MANAGER_QEMU_SMP_COUNT: "1",
    MANAGER_QEMU_DISK_IMG_KERNEL_FILE: await file("bzImage", linuxHeader()),
    MANAGER_QEMU_DISK_IMG_ROOTFS_FILE: await file("initrd", Buffer.from("not looked at")),
    MANAGER_QEMU_IGVM_FILE: await file("guest.igvm", Buffer.alloc(16)),
    MANAGER_QEMU_OVMF_FILE: OVMF,
    MANAGER_QEMU_GPU_BDF: gpu,
  });
  const { paths, vmId } = world;
  for (const directory of [paths.certsDir, paths.environmentDir]) await mkdir(directory, { recursive: true });
  if (tee === "none") await copyFile(config.qemu.ovmfVars.file, paths.ovmfVars);
  const base = exampleValues(config, { tee, gpu: gpu === "" ? false : gpu, forwardBind: "127.0.0.1" });
  const { cocos, drover } = vmCommand(config, { ...base, vmId, paths, hostPort: await freePort(), resultPort: true });
  return [...cocos, ...drover];
}

/** A Linux header that QEMU takes for a bzImage; nothing runs it. */
function linuxHeader(): Buffer {
  const image = Buffer.alloc(8192);
  image[0x1f1] = 4;
  image.writeUInt16LE(0xaa55, 0x1fe);
  image.write("HdrS", 0x202, "latin1");
  image.writeUInt16LE(0x20c, 0x206);
  image[0x211] = 1;
  image.writeUInt32LE(0x7fffffff, 0x22c);
  image.writeUInt32LE(2047, 0x238);
  return image;
}

/** Without what this QEMU knows nothing of: the objects and properties of the technology itself. */
function withoutTee(args: readonly string[]): string[] {
  const left: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const [word = "", value = ""] = [args[at], args[at + 1]];
    if (word === "-object" && /sev-snp-guest|tdx-guest|igvm-cfg/.test(value)) at++;
    else left.push(word.replace(/^confidential-guest-support=[^,]*,|,igvm-cfg=[^,]*$/g, ""));
  }
  return left;
}

const failure = (code: CauseCode, says: RegExp) => ({
  failure: { code, message: expect.stringMatching(says) },
});

test("the whole SEV-SNP command is a tee_unsupported to a QEMU that does not know sev-snp-guest", async () => {
  await using world = await openVmWorld();
  const args = await command(world, { tee: "snp" });
  expect(args).toContain("-kernel"); // as Cocos: beside the IGVM file
  await expect(world.start(args)).rejects.toMatchObject(failure("tee_unsupported", /'sev-snp-guest'/));
});

test("the whole TDX command is a tee_unsupported to a QEMU that does not know tdx-guest", async () => {
  await using world = await openVmWorld();
  const args = await command(world, { tee: "tdx" });
  await expect(world.start(args)).rejects.toMatchObject(failure("tee_unsupported", /'tdx-guest'/));
});

test("a QEMU with SEV-SNP and without IGVM is one, too", async () => {
  await using object = await openVmWorld();
  const igvmOnly = (args: string[]) => args.filter((arg) => !arg.startsWith("sev-snp-guest"));
  const snp = igvmOnly(await command(object, { tee: "snp" })).filter(
    (arg, at, all) => arg !== "-object" || all[at + 1] !== "-object",
  );
  await expect(object.start(snp)).rejects.toMatchObject(failure("tee_unsupported", /'igvm-cfg'/));
  await using property = await openVmWorld();
  const machine = [...(await property.args("idle")), "-machine", "igvm-cfg=igvm0"];
  await expect(property.start(machine)).rejects.toMatchObject(failure("tee_unsupported", /igvm-cfg' not found/));
});

test.each(["snp", "tdx"] as const)(
  "the rest of the %s command is sound: QEMU runs it, with drover's own devices",
  async (tee) => {
    await using world = await openVmWorld();
    const qemu = await world.start(withoutTee(await command(world, { tee })));
    const outputs = await qemu.drainOutputs(); // both rings answer: -nodefaults has taken neither away
    expect(outputs.result).toEqual(Buffer.alloc(0));
    await qemu.stop({ bounds: { ...STOP_BOUNDS, powerdownMs: 0 } });
  },
);

test("a GPU that is not there is a device_unavailable", async () => {
  await using world = await openVmWorld();
  const args = await command(world, { tee: "none", gpu: "ffff:1f:1f.7" });
  await expect(world.start(args)).rejects.toMatchObject(
    failure("device_unavailable", /vfio .*ffff:1f:1f\.7: no such host device/),
  );
});
