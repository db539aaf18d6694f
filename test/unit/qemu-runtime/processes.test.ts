import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { DeathWatch } from "../../../src/qemu/death-watch.ts";
import { findByUuid, findLaunchesOf } from "../../../src/qemu/process-scan.ts";
import { vmPaths } from "../../../src/qemu/vm-paths.ts";
import { endProcess, killProcess, waitForDeath } from "../../../src/runtime/end-process.ts";
import {
  bootId,
  isAlive,
  isStopped,
  type ProcessIdentity,
  readStartTime,
  signalProcess,
} from "../../../src/runtime/process-identity.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const children: { identity: ProcessIdentity; exited: Promise<unknown> }[] = [];

afterEach(async () => {
  for (const { identity, exited } of children.splice(0)) await killProcess(identity, exited);
});

function start(file: string, args: readonly string[]) {
  const child = execa(file, args, { reject: false, stdio: "ignore" });
  const pid = child.pid ?? 0;
  const identity = { pid, startTimeTicks: readStartTime(pid) ?? 0 };
  const exited = child.then(() => undefined);
  children.push({ identity, exited });
  return { identity, exited };
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ").filter(Boolean).map(Number);
}

/** A process that ignores SIGTERM; alive once it has said so by changing its name in the process table. */
const STUBBORN = ["-c", "trap '' TERM; while :; do sleep 60 & wait; done"];

test("a living process is known by pid and start time, and by both only", () => {
  const { identity } = start("sleep", ["60"]);
  expect(isAlive(identity)).toBe(true);
  expect(isAlive({ ...identity, startTimeTicks: identity.startTimeTicks + 1 })).toBe(false);
  expect(readStartTime(2 ** 22 + 1)).toBeUndefined();
  expect(isAlive({ pid: 2 ** 22 + 1, startTimeTicks: 1 })).toBe(false);
});

test("a stranger with our pid is never signalled", async () => {
  const { identity } = start("sleep", ["60"]);
  const stranger = { ...identity, startTimeTicks: identity.startTimeTicks - 1 };
  expect(signalProcess(stranger, "SIGKILL")).toBe(false);
  expect(await endProcess(stranger, { termMs: 1_000 })).toBe("already-dead");
  expect(isAlive(identity)).toBe(true);
});

test("a zombie is dead", async () => {
  // The shell never asks for the exit code of its child while it sleeps as another program.
  const { identity } = start("sh", ["-c", "sleep 0 & exec sleep 60"]);
  const child = await waitFor(() => {
    const [only] = childrenOf(identity.pid);
    return only !== undefined && readFileSync(`/proc/${only}/stat`, "latin1").includes(") Z ") ? only : undefined;
  });
  const startTimeTicks = readStartTime(child);
  expect(startTimeTicks).toBeDefined();
  expect(isAlive({ pid: child, startTimeTicks: startTimeTicks ?? 0 })).toBe(false);
});

test("a killed process of several threads is dead only once it holds nothing any more", async () => {
  const program = `Buffer.alloc(2e8, 1); require("net").createServer().listen("\\0drover-test-" + process.pid)`;
  for (let round = 0; round < 3; round++) {
    const { identity, exited } = start(process.execPath, ["-e", program]);
    const name = `\0drover-test-${identity.pid}`;
    await waitFor(() => readFileSync("/proc/net/unix", "latin1").includes(`@drover-test-${identity.pid}`));
    signalProcess(identity, "SIGKILL");
    while (isAlive(identity)); // without a pause, in which its last threads would be gone
    const server = createServer();
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(name, resolve));
    server.close();
    await exited;
  }
});

test("a program name with blanks and brackets does not confuse the reader", () => {
  expect(readStartTime(process.pid)).toBeGreaterThan(0);
  expect(bootId()).toMatch(/^[0-9a-f-]{36}$/);
});

test("SIGTERM is enough for most", async () => {
  const { identity, exited } = start("sleep", ["60"]);
  expect(await endProcess(identity, { termMs: 5_000, exited })).toBe("sigterm");
  expect(isAlive(identity)).toBe(false);
  expect(await endProcess(identity, { termMs: 5_000, exited })).toBe("already-dead");
});

test("what ignores SIGTERM is killed, also without being our child's owner", async () => {
  const { identity } = start("sh", STUBBORN);
  await waitFor(() => childrenOf(identity.pid).length === 1);
  expect(await endProcess(identity, { termMs: 50 })).toBe("sigkill");
  expect(isAlive(identity)).toBe(false);
});

test("a stopped process is seen and can be killed; giving up the wait still kills", async () => {
  const { identity, exited } = start("sleep", ["60"]);
  signalProcess(identity, "SIGSTOP");
  await waitFor(() => isStopped(identity));
  const gaveUp = new AbortController();
  const ending = endProcess(identity, { termMs: 60_000, exited, signal: gaveUp.signal });
  gaveUp.abort();
  expect(await ending).toBe("sigkill");
});

test("waiting for a death is bounded and can be given up", async () => {
  const { identity } = start("sleep", ["60"]);
  expect(await waitForDeath(identity, { timeoutMs: 20 })).toBe(false);
  const reason = new Error("enough");
  await expect(waitForDeath(identity, { timeoutMs: 60_000, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test("the death of a process is seen without being its parent, soon when told to look closely", async () => {
  const { identity } = start("sleep", ["60"]);
  const watch = new DeathWatch(identity);
  watch.hurry();
  signalProcess(identity, "SIGKILL");
  const startedMs = performance.now();
  expect(await watch.dead).toEqual({ exitCode: null, signal: null });
  expect(performance.now() - startedMs).toBeLessThan(400); // less than a look of the steady watch
  const second = start("sleep", ["60"]);
  const steady = new DeathWatch(second.identity);
  signalProcess(second.identity, "SIGKILL");
  expect(await steady.dead).toEqual({ exitCode: null, signal: null });
  const stopped = new DeathWatch(start("sleep", ["60"]).identity);
  stopped.stop();
  stopped.hurry();
});

test("a process is found by the uuid on its command line, exactly", () => {
  const uuid = randomUUID();
  const { identity } = start("sh", ["-c", "sleep 60; :", "x", "-uuid", uuid]);
  start("sh", ["-c", "sleep 60; :", "x", `-uuid ${uuid}`]);
  start("sh", ["-c", "sleep 60; :", "x", "-name", uuid]);
  expect(findByUuid(uuid)).toEqual([{ ...identity, uuid }]);
  expect(findByUuid(uuid.toUpperCase())).toHaveLength(1);
  expect(findByUuid(randomUUID())).toEqual([]);
});

test("a launch is found by its state directory, by whatever name that is reached", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "dq-scan-"));
  onTestFinished(() => rm(stateDir, { recursive: true, force: true }));
  const other = join(stateDir, "other");
  await mkdir(other);
  await symlink(stateDir, join(stateDir, "alias"));
  const uuid = randomUUID();
  const launch = (dir: string, named = uuid) => {
    const { pidFile } = vmPaths({ stateDir: dir, vmId: named, epoch: 3 });
    return start("sh", ["-c", "sleep 60; :", "x", "-uuid", uuid, "-pidfile", pidFile]).identity;
  };
  const ours = launch(stateDir);
  const byAlias = launch(join(stateDir, "alias"));
  launch(other);
  launch(stateDir, randomUUID());
  start("sh", ["-c", "sleep 60; :", "x", "-uuid", uuid, "-name", vmPaths({ stateDir, vmId: uuid, epoch: 3 }).pidFile]);
  const facts = { uuid, epoch: 3 };
  const expected = [
    { ...ours, ...facts, stateDir },
    { ...byAlias, ...facts, stateDir: join(stateDir, "alias") },
  ];
  expect([...findLaunchesOf(stateDir)].sort((a, b) => a.pid - b.pid)).toEqual(expected.sort((a, b) => a.pid - b.pid));
  expect(findLaunchesOf(join(stateDir, "alias"))).toHaveLength(2);
  await rm(stateDir, { recursive: true });
  expect(findLaunchesOf(stateDir).map(({ pid }) => pid)).toEqual([ours.pid]); // by name, as there is no inode any more
});
