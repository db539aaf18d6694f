import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findByUuid } from "../../src/qemu/process-scan.ts";
import { connectQmp } from "../../src/qemu/qmp-connect.ts";
import { type StartOptions, startQemu } from "../../src/qemu/start-qemu.ts";
import { exampleValues, vmCommand } from "../../src/qemu/vm-command.ts";
import { makeVmDirectory } from "../../src/qemu/vm-directory.ts";
import { vmPaths } from "../../src/qemu/vm-paths.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { writeStubKernel } from "../helpers/rom-machine.ts";
import { freePort } from "./support/vm-world.ts";

const VM_ID = "0b6f5f1e-0000-4000-8000-0000000000aa";
/** Read as an option of its own, it would open a port. */
const EVIL = ",hostfwd=tcp:127.0.0.1:6999-:22,,é -monitor stdio,";
let home: string;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "dq-x-"));
});
afterEach(() => {
  for (const { pid } of findByUuid(VM_ID)) process.kill(pid, "SIGKILL");
  rmSync(home, { recursive: true, force: true });
});

/** The TCP sockets on which a process listens, as /proc/net/tcp writes them. */
function listenersOf(pid: number): string[] {
  const sockets = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      return []; // closed in between
    }
  });
  return ["tcp", "tcp6"]
    .flatMap((table) => readFileSync(`/proc/net/${table}`, "latin1").split("\n").slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === "0A" && sockets.includes(fields[9] ?? ""))
    .map((fields) => fields[1] ?? "");
}

/** A VM all of whose paths and texts hold what an attacker would write into them. */
async function evilVm(over: Record<string, string> = {}) {
  const evil = join(home, EVIL);
  mkdirSync(evil, { recursive: true });
  const [kernel, initrd] = [join(evil, `k${EVIL}`), join(evil, `i${EVIL}`)];
  writeStubKernel(kernel);
  writeFileSync(initrd, Buffer.alloc(512));
  const stateDir = join(home, ",x=y,,");
  const { config } = loadConfig({
    HOME: "/",
    DROVER_STATE_DIR: stateDir,
    DROVER_FIRMWARE: "seabios",
    MANAGER_QEMU_ENABLE_KVM: "false",
    MANAGER_QEMU_MEMORY_SIZE: "32M",
    MANAGER_QEMU_SMP_COUNT: "1",
    MANAGER_QEMU_DISK_IMG_KERNEL_FILE: kernel,
    MANAGER_QEMU_DISK_IMG_ROOTFS_FILE: initrd,
    MANAGER_QEMU_KERNEL_CMDLINE: `quiet${EVIL}`,
    ...over,
  });
  const paths = vmPaths({ stateDir, vmId: VM_ID, epoch: 1 });
  await makeVmDirectory(paths);
  for (const dir of [paths.certsDir, paths.environmentDir]) mkdirSync(dir);
  const hostPort = await freePort();
  const example = exampleValues(config, { tee: "none", gpu: false, forwardBind: "127.0.0.1" });
  const command = vmCommand(config, { ...example, vmId: VM_ID, paths, hostPort, resultPort: true });
  const args = [...command.cocos, ...command.drover];
  const start: StartOptions = {
    binPath: command.binPath,
    args: [...args, "-S"],
    paths,
    vmId: VM_ID,
    rings: { console: true, result: true },
    expectedPort: hostPort,
    qmpTimeoutMs: 20_000,
    signal: new AbortController().signal,
  };
  return { start, paths, hostPort, kernel };
}

test("a QEMU whose paths and texts are all hostile has the drives, shares and listeners of any other", async () => {
  const { start, paths, hostPort, kernel } = await evilVm();
  const qemu = await startQemu(start);
  const given = readFileSync(`/proc/${qemu.pid}/cmdline`, "utf8").split("\0").slice(0, -1);
  expect(given).toEqual([start.binPath, ...start.args]);
  expect(given[given.indexOf("-kernel") + 1]).toBe(kernel);
  expect(given[given.indexOf("-append") + 1]).toBe(`quiet${EVIL}`);

  const port = hostPort.toString(16).toUpperCase().padStart(4, "0");
  expect(listenersOf(qemu.pid)).toEqual([`0100007F:${port}`]);
  const rescue = await connectQmp({ socketPath: paths.qmpRescueSocket, timeoutMs: 10_000, isAlive: () => true });
  const ask = (line: string) =>
    rescue.execute("human-monitor-command", { "command-line": line }, { timeoutMs: 10_000 });
  const tree = String(await ask("info qtree"));
  expect(tree.match(/dev: virtio-9p-pci,/g)).toHaveLength(2);
  const labels = String(await ask("info chardev")).match(/^\S+?:/gm);
  expect(labels?.sort()).toEqual(["compat_monitor0:", "console:", "parallel0:", "qmp0:", "qmp1:", "result:"]);
  expect(String(await ask("info block"))).not.toMatch(/6999|shadow/);
  rescue.close();
  await qemu.stop({ bounds: { powerdownMs: 0, quitMs: 10_000, termMs: 10_000 } });
});

test.each([
  ["an id that ends early", { MANAGER_QEMU_NETDEV_ID: "n,hostfwd=tcp:127.0.0.1:6999-:22" }],
  ["a slot that brings another device along", { MANAGER_QEMU_VIRTIO_NET_PCI_ADDR: "0x2,romfile=/etc/shadow" }],
])("%s never gets as far as QEMU", async (_what, over) => {
  await expect(evilVm(over)).rejects.toMatchObject({ code: "config_invalid" });
});
