import { readFileSync } from "node:fs";
import { execa } from "execa";
import { describe, expect, test, vi } from "vitest";
import { cocosArgs } from "../../src/qemu/cocos-args.ts";
import { vmPaths } from "../../src/qemu/vm-paths.ts";
import { askAgent } from "../helpers/agent.ts";
import { demoGuest } from "../helpers/demo-guest.ts";
import { startDrover } from "../helpers/drover.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { machineOf } from "../helpers/machine-of.ts";

/** As Cocos ships it but for KVM, which not every machine has: an empty value means the default of Cocos. */
const COCOS_ENV = {
  DROVER_FIRMWARE: "ovmf",
  DROVER_FORWARD_BIND: "0.0.0.0", // all addresses: `hostfwd=tcp::PORT-:7002`, letter by letter
  DROVER_HOST_ADDRESS: "127.0.0.1",
  MANAGER_QEMU_CPU: "",
  MANAGER_QEMU_MEMORY_SIZE: "",
  MANAGER_QEMU_MAX_MEMORY: "",
  MANAGER_QEMU_MEMORY_SLOTS: "",
  MANAGER_QEMU_SMP_COUNT: "",
  MANAGER_QEMU_SMP_MAXCPUS: "",
  MANAGER_QEMU_KERNEL_CMDLINE: "",
};

const CA_CERT = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/** OVMF and four processors under emulation: ten seconds on a quiet machine, a minute on a busy one. */
vi.setConfig({ testTimeout: 300_000 });

/** Two guests of four processors each; both at once take little longer than one. */
describe.concurrent("the whole, with the command line of Cocos", () => {
  test("the guest reads both shares, answers where the API says, hands back its result and ends by itself", async () => {
    const { bzImage, rootfsGz } = demoGuest();
    const files = { MANAGER_QEMU_DISK_IMG_KERNEL_FILE: bzImage, MANAGER_QEMU_DISK_IMG_ROOTFS_FILE: rootfsGz };
    await using host = await startDrover({ env: { ...COCOS_ENV, ...files } });
    const vmId = await host.submit({
      agentCvmServerUrl: "demo:hello",
      agentLogLevel: "debug",
      agentCvmServerCaCert: CA_CERT,
      result: true,
    });
    const running = await host.until(vmId, "running");
    const paths = vmPaths({ stateDir: host.stateDir, vmId, epoch: 1 });
    const cocos = cocosArgs(host.config.qemu, {
      hostPort: running.address?.port ?? 0,
      deviceIdSuffix: vmId,
      certsDir: paths.certsDir,
      envDir: paths.environmentDir,
      ovmfVarsFile: paths.ovmfVars,
      tee: "none",
      gpu: false,
      firmware: "ovmf",
    });
    const argv = argvOf(vmId);
    expect(argv.slice(1, argv.indexOf("-uuid"))).toEqual(cocos);
    expect(await askAgent(running.address)).toBe(`agent ok ${vmId}`);
    const done = await host.until(vmId, "completed", 110_000);
    expect(done).toMatchObject({
      endReason: "guest_shutdown",
      result: { exitCode: 0, text: `hello from ${vmId}: 500500` },
    });
    expect(done.tail?.console).toContain(
      `certificates: ca.pem (${CA_CERT.length} bytes) cert.pem (0 bytes) key.pem (0 bytes)`,
    );
    expect(done.tail?.console).toContain(
      "environment: AGENT_LOG_LEVEL AGENT_CVM_GRPC_URL AGENT_CVM_ID AGENT_CERTS_TOKEN AGENT_CVM_CA_URL AGENT_CVM_GRPC_SERVER_CA_CERTS",
    );
    await expectAgreement(host);
  });

  test("from a disk: an overlay of the source image, one GiB larger than that is when rounded up", async () => {
    const disk = { MANAGER_QEMU_ENABLE_DISK: "true", MANAGER_QEMU_SRC_DISK_FILE: demoGuest().disk };
    await using host = await startDrover({ env: { ...COCOS_ENV, ...disk } });
    const vmId = await host.submit({ agentCvmServerUrl: "demo:hello", result: true });
    const running = await host.until(vmId, "running");
    const overlay = vmPaths({ stateDir: host.stateDir, vmId, epoch: 1 }).disk;
    const info: unknown = JSON.parse((await execa("qemu-img", ["info", "-U", "--output=json", overlay])).stdout);
    expect(info).toMatchObject({
      format: "qcow2",
      "backing-filename": demoGuest().disk,
      "virtual-size": 2 * 1024 ** 3,
    });
    expect(argvOf(vmId)).not.toContain("-kernel");
    expect(await askAgent(running.address)).toBe(`agent ok ${vmId}`);
    const done = await host.until(vmId, "completed", 110_000);
    expect(done).toMatchObject({ result: { exitCode: 0, text: `hello from ${vmId}: 500500` } });
    expect(done.tail?.console).toContain("disk: sda (2048 MiB)");
    await expectAgreement(host);
  });
});

function argvOf(vmId: string): string[] {
  return readFileSync(`/proc/${machineOf(vmId).pid}/cmdline`, "utf8").split("\0");
}
