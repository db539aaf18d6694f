import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, test } from "vitest";
import { qemuOption } from "../../src/qemu/qemu-option.ts";
import { shellLine } from "../../src/qemu/shell-quote.ts";
import { type CommandValues, exampleValues, vmCommand } from "../../src/qemu/vm-command.ts";
import { vmPaths } from "../../src/qemu/vm-paths.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";

const QEMU = "qemu-system-x86_64";
const OVMF_CODE = "/usr/share/OVMF/OVMF_CODE.fd";
const VM_ID = "11111111-2222-4333-8444-555555555555";

let home: string;
let running: { readonly child: ChildProcess; readonly ended: Promise<number | null>; errors: string }[];

beforeEach(() => {
  // A comma in every path: whatever is not escaped ends as an option that QEMU does not know.
  home = mkdtempSync(join(tmpdir(), "argv,x=y-"));
  running = [];
});

afterEach(async () => {
  for (const { child, ended } of running) {
    child.kill("SIGKILL");
    await ended;
  }
  rmSync(home, { recursive: true, force: true });
});

function start(args: readonly string[]): {
  errors: string;
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
} {
  const child = spawn(QEMU, [...args, "-S"], { stdio: ["ignore", "ignore", "pipe"], cwd: home });
  const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
  const started = { child, ended, errors: "" };
  child.stderr?.on("data", (chunk: Buffer) => {
    started.errors += chunk.toString();
  });
  running.push(started);
  return started;
}

type Ask = (execute: string, args?: object) => Promise<unknown>;

/** A QMP client of a few lines, so that this test does not depend on the one that drover has. */
async function qmp(path: string, qemu: { readonly child: ChildProcess; readonly errors: string }): Promise<Ask> {
  const socket = await connected(path, qemu);
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  await lines.next(); // greeting
  const ask: Ask = async (execute, args = {}) => {
    socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    for (;;) {
      const { value, done } = await lines.next();
      if (done === true) throw new Error("QMP closed");
      const reply: { return?: unknown; error?: { desc: string } } = JSON.parse(value);
      if (reply.error !== undefined) throw new Error(reply.error.desc);
      if ("return" in reply) return reply.return;
    }
  };
  await ask("qmp_capabilities");
  return ask;
}

async function connected(
  path: string,
  qemu: { readonly child: ChildProcess; readonly errors: string },
): Promise<Socket> {
  for (let tries = 0; tries < 400; tries++) {
    if (qemu.child.exitCode !== null) throw new Error(`QEMU ended: ${qemu.errors}`);
    if (existsSync(path)) {
      const socket = await new Promise<Socket | undefined>((resolve) => {
        const candidate = connect(path, () => resolve(candidate)).on("error", () => resolve(undefined));
      });
      if (socket !== undefined) return socket;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`QEMU did not open ${path}: ${qemu.errors}`);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** As much of a bzImage as QEMU looks at before it starts a guest (Linux's Documentation/arch/x86/boot.rst). */
function writeFakeKernel(path: string): void {
  const image = Buffer.alloc(64 * 1024);
  image[0x1f1] = 4; // setup sectors
  image.writeUInt16LE(0xaa55, 0x1fe);
  image.write("HdrS", 0x202, "latin1");
  image.writeUInt16LE(0x20c, 0x206); // protocol 2.12
  image[0x211] = 1; // loaded high
  image.writeUInt32LE(0x7fffffff, 0x22c); // the RAM disk may lie this high
  image.writeUInt32LE(2047, 0x238); // length of the command line
  writeFileSync(path, image);
}

async function prepared(env: Record<string, string>, more: Partial<CommandValues> = {}) {
  const kernel = join(home, "bzImage");
  const initrd = join(home, "initrd");
  writeFakeKernel(kernel);
  writeFileSync(initrd, "not looked at");
  const stateDir = join(home, "s");
  const { config } = loadConfig({
    DROVER_STATE_DIR: stateDir,
    MANAGER_QEMU_ENABLE_KVM: "false",
    MANAGER_QEMU_MEMORY_SIZE: "64M",
    MANAGER_QEMU_MAX_MEMORY: "128M",
    MANAGER_QEMU_SMP_COUNT: "1",
    MANAGER_QEMU_DISK_IMG_KERNEL_FILE: kernel,
    MANAGER_QEMU_DISK_IMG_ROOTFS_FILE: initrd,
    ...env,
  });
  const paths = vmPaths({ stateDir, vmId: VM_ID, epoch: 1 });
  for (const dir of [paths.certsDir, paths.environmentDir]) mkdirSync(dir, { recursive: true });
  if (config.firmware === "ovmf") copyFileSync(config.qemu.ovmfVars.file, paths.ovmfVars);
  const hostPort = await freePort();
  const base = exampleValues(config, { tee: "none", gpu: false, forwardBind: "127.0.0.1" });
  return { paths, hostPort, config, command: vmCommand(config, { ...base, paths, hostPort, ...more }) };
}

test("the whole command starts in the real QEMU, and each part of drover's layer is there", async () => {
  const { command, paths, hostPort } = await prepared({}, { resultPort: true, endOnReboot: true });
  const qemu = start([...command.cocos, ...command.drover]);
  const ask = await qmp(paths.qmpSocket, qemu);
  const rescue = await qmp(paths.qmpRescueSocket, qemu);

  expect(await ask("query-uuid")).toEqual({ UUID: VM_ID });
  expect(await rescue("query-name")).toEqual({ name: `drover-${VM_ID}-1` });
  expect(readFileSync(paths.pidFile, "utf8").trim()).toBe(String(qemu.child.pid));
  const chardevs = JSON.stringify(await ask("query-chardev"));
  expect(chardevs).toMatch(/"filename":"ringbuf","label":"console"|"label":"console","filename":"ringbuf"/);
  expect(chardevs).toContain('"result"');
  expect(await ask("human-monitor-command", { "command-line": "info usernet" })).toMatch(
    new RegExp(`127\\.0\\.0\\.1\\s+${hostPort}\\s`),
  );
  const tree = String(await ask("human-monitor-command", { "command-line": "info qtree" }));
  for (const device of ["virtio-serial-pci", "virtserialport", "pvpanic", "virtio-9p-pci", "virtio-net-pci"])
    expect(tree).toContain(device);
  expect(tree).toContain('name = "drover.result"');
  const blocks = JSON.stringify(await ask("query-block"));
  expect(blocks).toContain(JSON.stringify(paths.ovmfVars));
  expect(blocks).toContain(OVMF_CODE);

  await ask("quit").catch(() => undefined); // QEMU may be gone before it answers
  expect(await qemu.ended).toBe(0);
});

test("with seabios and a disk the command starts without pflash drives and with the VM's own disk", async () => {
  const { command, paths } = await prepared({ DROVER_FIRMWARE: "seabios", MANAGER_QEMU_ENABLE_DISK: "true" });
  execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", paths.disk, "16M"]);
  const qemu = start([...command.cocos, ...command.drover]);
  const ask = await qmp(paths.qmpSocket, qemu);
  const blocks = JSON.stringify(await ask("query-block"));
  expect(blocks).toContain(JSON.stringify(paths.disk));
  expect(blocks).not.toContain("pflash");
});

test("the shell line of a command starts the same QEMU when it is pasted into a shell", async () => {
  const { command, paths } = await prepared({
    DROVER_FIRMWARE: "seabios",
    MANAGER_QEMU_KERNEL_CMDLINE: 'it\'s a "test" $HOME',
  });
  const line = shellLine([command.binPath, ...command.cocos, ...command.drover, "-S"]);
  const child = spawn("/bin/sh", ["-c", `exec ${line}`], { stdio: ["ignore", "ignore", "pipe"], cwd: home });
  const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
  const shell = { child, ended, errors: "" };
  child.stderr.on("data", (chunk: Buffer) => {
    shell.errors += chunk.toString();
  });
  running.push(shell);
  const ask = await qmp(paths.qmpSocket, shell);
  expect(await ask("query-uuid")).toEqual({ UUID: VM_ID });
});

test("read-only shares are asked for by -set, which QEMU takes only for a share that is there", async () => {
  const { command } = await prepared({ DROVER_FIRMWARE: "seabios" });
  expect(command.drover.slice(-4)).toEqual(["-set", "fsdev.cert_fs.readonly=on", "-set", "fsdev.env_fs.readonly=on"]);
  const withoutShares = command.cocos.slice(0, command.cocos.indexOf("-fsdev"));
  const qemu = start([...withoutShares, ...command.drover]);
  expect(await qemu.ended).toBe(1);
  expect(qemu.errors).toContain('there is no fsdev "cert_fs" defined');
});

test("QEMU reads every odd file name back as it was, when the option builder has written it", async () => {
  const names = [
    "a,b",
    ",",
    ",,",
    "a,,b,",
    "a=b,readonly=on",
    "id=x",
    "with blank",
    "quote'\"",
    "per%cent",
    "é,ü",
    "back\\slash",
    "-dash",
    "a:b",
  ];
  const socket = join(home, "q.sock");
  const drives = names.flatMap((name, index) => {
    const file = join(home, `f${index}`, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, Buffer.alloc(512));
    return [
      "-drive",
      qemuOption("escaped", "", [
        ["file", file],
        ["if", "none"],
        ["id", `d${index}`],
        ["format", "raw"],
      ]),
    ];
  });
  const monitor = [
    "-chardev",
    qemuOption("escaped", "socket", [
      ["id", "m"],
      ["path", socket],
      ["server", "on"],
      ["wait", "off"],
    ]),
    "-mon",
    "chardev=m,mode=control",
  ];
  const qemu = start(["-machine", "none", "-nodefaults", "-display", "none", ...drives, ...monitor]);
  const ask = await qmp(socket, qemu);
  const blocks = (await ask("query-block")) as { device: string; inserted: { image: { filename: string } } }[];
  const read = Object.fromEntries(blocks.map(({ device, inserted }) => [device, inserted.image.filename]));
  expect(read).toEqual(Object.fromEntries(names.map((name, index) => [`d${index}`, join(home, `f${index}`, name)])));
});

test("without the escape the same name breaks: the check above sees the difference", async () => {
  const file = join(home, "disk");
  writeFileSync(file, Buffer.alloc(512));
  const qemu = start([
    "-machine",
    "none",
    "-display",
    "none",
    "-drive",
    qemuOption("verbatim", "", [
      ["file", file],
      ["if", "none"],
      ["format", "raw"],
    ]),
  ]);
  expect(await qemu.ended).toBe(1);
});
