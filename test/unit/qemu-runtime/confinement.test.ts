import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { expect, test } from "vitest";
import { LaunchFailure } from "../../../src/contract/causes.ts";
import { classifyFailure } from "../../../src/qemu/classify-failure.ts";
import { startConfined } from "../../../src/qemu/confined-process.ts";
import { type Confinement, confinedCommand, sudoersLine } from "../../../src/qemu/confinement.ts";
import { droverArgs, withInheritedMonitors } from "../../../src/qemu/drover-args.ts";
import { findConfinement, sudoProblem } from "../../../src/qemu/find-confinement.ts";
import { vmPaths } from "../../../src/qemu/vm-paths.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";

const ROOT = { uid: 0 };
const DAEMON = { uid: 1 };
const PATHS = vmPaths({ stateDir: "/s", vmId: "0b6f5f1e-0000-4000-8000-000000000001", epoch: 1 });

const choose = (env: Record<string, string>, asker: { uid: number }) =>
  findConfinement(loadConfig({ HOME: "/", ...env }).config, asker);

test("QEMU runs as the worker does, unless a user or sudo is asked for that changes something", async () => {
  expect(await choose({}, ROOT)).toEqual({ kind: "own" });
  expect(await choose({ MANAGER_QEMU_USE_SUDO: "true" }, ROOT)).toEqual({ kind: "own" });
  expect(await choose({ DROVER_QEMU_USER: "daemon" }, DAEMON)).toEqual({ kind: "own" });
  expect(await choose({ MANAGER_QEMU_USE_SUDO: "true" }, DAEMON)).toMatchObject({ kind: "sudo", self: { uid: 1 } });
  const byName = await choose({ DROVER_QEMU_USER: "daemon" }, ROOT);
  expect(byName).toMatchObject({ kind: "user", user: { name: "daemon", uid: 1, gid: 1 } });
  expect(await choose({ DROVER_QEMU_USER: "1" }, ROOT)).toEqual(byName);
});

test.each([
  ["nobody-of-this-name", ROOT, /is no user of this machine: make it \(useradd .*nobody-of-this-name/],
  ["root", ROOT, /is root: name a user without rights/],
  ["0", ROOT, /is root/],
  ["nobody", DAEMON, /needs a worker that is root: run the worker as root, or run the worker itself as nobody/],
])("DROVER_QEMU_USER=%s is refused with the way out (%j)", async (user, asker, message) => {
  await expect(choose({ DROVER_QEMU_USER: user }, asker)).rejects.toMatchObject({
    code: "config_invalid",
    message: expect.stringMatching(message),
  });
});

test("another user gets that user's groups, no capability and no way to gain one", () => {
  const user: Confinement = { kind: "user", user: { name: "q", uid: 7, gid: 8 }, setpriv: "/usr/bin/setpriv" };
  expect(confinedCommand(user, ["/q", "-x"]).join(" ")).toBe(
    "/usr/bin/setpriv --reuid=7 --regid=8 --init-groups --inh-caps=-all --ambient-caps=-all --bounding-set=-all --no-new-privs -- /q -x",
  );
});

test("a rule for sudo names the whole command up to QEMU, escaped as sudoers wants it", () => {
  const sudo: Confinement = {
    kind: "sudo",
    self: { name: "w", uid: 7, gid: 8 },
    sudo: "/s",
    setpriv: "/usr/bin/setpriv",
  };
  expect(confinedCommand(sudo, ["/q"]).slice(0, 4)).toEqual(["/s", "-n", "--", "/usr/bin/setpriv"]);
  expect(sudoersLine(sudo, "/opt/q:1/qemu")).toBe(
    "w ALL=(root) NOPASSWD: /usr/bin/setpriv --reuid\\=7 --regid\\=8 --init-groups " +
      "--inh-caps\\=-all\\,+dac_override\\,+ipc_lock --ambient-caps\\=-all\\,+dac_override\\,+ipc_lock " +
      "--bounding-set\\=-all\\,+dac_override\\,+ipc_lock -- /opt/q\\:1/qemu *",
  );
});

test("a unit that forbids sudo is told before anything is started", async () => {
  const sudo = await choose({ MANAGER_QEMU_USE_SUDO: "true" }, DAEMON);
  const told = await sudoProblem(sudo, "qemu-system-x86_64", "Name:\tnode\nNoNewPrivs:\t1\n");
  expect(told?.problem).toMatch(/NoNewPrivileges/);
  expect(told?.todo).toMatch(/NoNewPrivileges=no/);
  expect(await sudoProblem({ kind: "own" }, "x", "NoNewPrivs:\t1\n")).toBeUndefined();
});

test.each([
  ["sudo: a password is required", "privileges_missing"],
  ['sudo: The "no new privileges" flag is set, which prevents sudo from running as root.', "privileges_missing"],
  ["Sorry, user w is not allowed to execute '/usr/bin/setpriv' as root on h.", "privileges_missing"],
  ["setpriv: setresuid failed: Operation not permitted", "privileges_missing"],
  ["setpriv: failed to execute /opt/qemu: No such file or directory", "qemu_missing"],
  ["sudo: /opt/qemu: command not found", "qemu_missing"],
])("%s: %s", (output, code) => {
  expect(classifyFailure({ output, exit: { exitCode: 1, signal: null }, phase: "start" }).code).toBe(code);
});

test("the monitors of an inherited socket replace exactly those that drover's layer names", () => {
  const layer = {
    vmId: "v",
    epoch: 1,
    pidFile: PATHS.pidFile,
    qmpSockets: [PATHS.qmpSocket, PATHS.qmpRescueSocket] as const,
    tee: "none" as const,
    shares: { certs: true, env: true },
    sharesReadonly: true,
    sandbox: true,
    resultPort: true,
    endOnReboot: false,
  };
  const monitors = layer.qmpSockets.map((path, index) => ({ path, fd: 3 + index }));
  const before = droverArgs(layer);
  const after = withInheritedMonitors(before, monitors);
  expect(after.filter((arg, index) => arg !== before[index])).toEqual([
    "socket,id=qmp0,fd=3,server=on,wait=off",
    "socket,id=qmp1,fd=4,server=on,wait=off",
  ]);
});

test("a QEMU that is not there is said to be missing, whoever stands before it", async () => {
  const sudo = await choose({ MANAGER_QEMU_USE_SUDO: "true" }, DAEMON);
  const start = startConfined({
    binPath: "/nope/qemu",
    args: [],
    paths: { ...PATHS, qemuLog: "/dev/null" },
    cwd: "/",
    confinement: sudo,
  });
  await expect(start).rejects.toSatisfy(
    (error) => error instanceof LaunchFailure && error.failure.code === "qemu_missing",
  );
});

test("a process that we may not signal is alive", async ({ skip }) => {
  if (process.getuid?.() !== 0) skip("only root can ask as another user");
  const module = fileURLToPath(new URL("../../../src/runtime/process-identity.ts", import.meta.url));
  const program = `import { isAlive, readStartTime } from ${JSON.stringify(module)};
    let code = "none";
    try { process.kill(${process.pid}, 0); } catch (error) { code = error.code; }
    const startTimeTicks = readStartTime(${process.pid});
    console.log(JSON.stringify([code, isAlive({ pid: ${process.pid}, startTimeTicks })]));`;
  const node = [process.execPath, "--import", "tsx", "--input-type=module", "-e", program];
  const { stdout } = await execa("setpriv", ["--reuid=1", "--regid=1", "--init-groups", "--", ...node]);
  expect(JSON.parse(stdout)).toEqual(["EPERM", true]);
});
