import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { vmPaths } from "../../src/qemu/vm-paths.ts";
import { killProcess } from "../../src/runtime/end-process.ts";
import {
  bootId,
  isAlive,
  isStopped,
  type ProcessIdentity,
  readStartTime,
  signalProcess,
} from "../../src/runtime/process-identity.ts";
import { answeringGuard, findGuards } from "../../src/worker/guard/guard-identity.ts";
import { GuardLink } from "../../src/worker/guard/guard-link.ts";
import { guardFiles, readOrder, writeOrder } from "../../src/worker/guard/guard-order.ts";
import { readGuardedNote } from "../../src/worker/guard/guarded-note.ts";
import { uptimeMs } from "../../src/worker/guard/uptime.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openVmWorld, startOrphan, type VmWorld } from "./support/vm-world.ts";

const DRIVER = fileURLToPath(new URL("./support/guard-driver.ts", import.meta.url));
/** The drivers' deadline, and within what of it a VM must be dead on two busy cores. */
const DEADLINE_MS = 1_500;
const MARGIN_MS = 3_000;

/** A state directory with one running QEMU, and whatever guards are started for it. */
async function openGuardedWorld() {
  const world = await openVmWorld();
  const stateId = randomUUID();
  onTestFinished(async () => {
    for (const guard of findGuards(stateId)) await killProcess(guard);
  });
  const place = { stateDir: world.stateDir, stateId, bootId: bootId(), logger: pino({ level: "silent" }) };
  const qemu = await startOrphan(world, await world.args("idle"));
  return { world, stateId, place, qemu, open: () => GuardLink.open(place) };
}

/** A process that refreshes its deadline and can be killed or stopped. Resolves when it has done so once. */
async function startDriver({ world, stateId }: { world: VmWorld; stateId: string }) {
  const note = join(world.stateDir, "driver.json");
  const args = ["--import", "tsx", DRIVER, world.stateDir, stateId, String(DEADLINE_MS), note];
  const child = execa(process.execPath, args, { reject: false, stdio: "ignore" });
  const pid = child.pid ?? 0;
  const driver = { pid, startTimeTicks: readStartTime(pid) ?? 0 };
  onTestFinished(async () => void (await killProcess(driver)));
  const read = async () => JSON.parse(await readFile(note, "utf8")) as { refreshes: number; lates: number };
  await waitFor(read, { timeoutMs: 30_000, what: "the driver's first refresh" });
  return { ...driver, read };
}

async function expectEnded(qemu: ProcessIdentity, withinMs: number): Promise<void> {
  await waitFor(() => !isAlive(qemu), { timeoutMs: withinMs, what: "the guard to end the VM" });
}

async function expectLogged({ stateDir }: VmWorld, text: string | RegExp): Promise<void> {
  const log = async () => readFile(guardFiles(stateDir).log, "utf8");
  await waitFor(async () => (await log()).search(text) !== -1, { what: `${text} in the guard's log` });
}

test("a live worker's VMs are left alone; a killed one's are ended, and the note says why", async () => {
  const guarded = await openGuardedWorld();
  const { world, qemu } = guarded;
  const driver = await startDriver(guarded);
  const livesLongerMs = uptimeMs() + DEADLINE_MS + 500;
  await waitFor(() => uptimeMs() > livesLongerMs);
  expect(isAlive(qemu)).toBe(true);

  await killProcess(driver);
  const order = await readOrder(world.stateDir);
  await expectEnded(qemu, DEADLINE_MS + MARGIN_MS);
  expect(await readGuardedNote(world.paths.guarded)).toEqual({
    atMs: expect.closeTo(Date.now(), -5),
    deadlineUptimeMs: order?.deadlineUptimeMs,
  });
  await expectLogged(world, `QEMU ${qemu.pid} of VM ${world.vmId}, launch 1 ended: sigterm`);
  expect((await driver.read()).lates).toBe(0);
});

test("a worker that hangs loses its VMs, and learns it when it wakes up", async () => {
  const guarded = await openGuardedWorld();
  const { world, qemu } = guarded;
  const driver = await startDriver(guarded);
  signalProcess(driver, "SIGSTOP");
  await waitFor(() => isStopped(driver));
  await expectEnded(qemu, DEADLINE_MS + MARGIN_MS);

  // What it may start before it knows is ended, too.
  const second = await startOrphan(world, await world.args("idle"));
  await expectEnded(second, MARGIN_MS);
  signalProcess(driver, "SIGCONT");
  await waitFor(async () => (await driver.read()).lates === 1);
  await expectLogged(world, "fresh deadline");
  const third = await startOrphan(world, await world.args("idle"));
  const { refreshes } = await driver.read();
  await waitFor(async () => (await driver.read()).refreshes > refreshes + 20);
  expect(isAlive(third)).toBe(true);
});

test("a QEMU that is stopped or ignores SIGTERM is ended as well, all at once", async () => {
  const { world, qemu, open } = await openGuardedWorld();
  signalProcess(qemu, "SIGSTOP");
  await waitFor(() => isStopped(qemu));
  const stubborn = await startStranger(["-uuid", randomUUID()], { ignoresTerm: true, stateDir: world.stateDir });
  const link = await open();
  await link.refresh(200);
  await Promise.all([expectEnded(qemu, MARGIN_MS), expectEnded(stubborn, MARGIN_MS)]);
  await expectLogged(world, `QEMU ${qemu.pid} of VM ${world.vmId}, launch 1 ended: sigkill`);
});

test("whoever is not of this state directory is left alone", async () => {
  const { world, qemu, open } = await openGuardedWorld();
  await using other = await openVmWorld();
  const neighbour = await startOrphan(other, await other.args("idle"));
  const sameUuid = vmPaths({ stateDir: other.stateDir, vmId: world.vmId, epoch: 1 });
  const strangers = await Promise.all([
    startStranger(["-name", `drover-${world.vmId}-1`]),
    startStranger(["-uuid", world.vmId]),
    startStranger(["-uuid", world.vmId, "-pidfile", sameUuid.pidFile]),
    startStranger(["-uuid", randomUUID(), "-pidfile", world.paths.pidFile]),
  ]);
  const link = await open();
  await link.refresh(100);
  await expectEnded(qemu, MARGIN_MS);
  const rescansOverMs = uptimeMs() + 600;
  await waitFor(() => uptimeMs() > rescansOverMs);
  expect([neighbour, ...strangers].map(isAlive)).toEqual([true, true, true, true, true]);
});

test("a state directory that is reached by another name is the same one", async () => {
  const { world, qemu, place } = await openGuardedWorld();
  const alias = `${world.stateDir}.alias`;
  await symlink(world.stateDir, alias);
  onTestFinished(() => rm(alias));
  const link = await GuardLink.open({ ...place, stateDir: alias });
  await link.refresh(100);
  await expectEnded(qemu, MARGIN_MS);
});

test("a guard that was killed or stopped is started anew by the next refresh", async () => {
  const { stateId, qemu, open } = await openGuardedWorld();
  const link = await open();
  await link.refresh(60_000);
  for (const signal of ["SIGKILL", "SIGSTOP"] as const) {
    const [guard] = findGuards(stateId);
    if (guard === undefined) throw new Error("there is no guard");
    signalProcess(guard, signal);
    await waitFor(() => !link.isAlive());
    await link.refresh(60_000);
    await waitFor(() => link.isAlive() && !isAlive(guard), { timeoutMs: 20_000, what: "a new guard" });
    expect(findGuards(stateId)).toHaveLength(1);
  }
  await link.refresh(100);
  await expectEnded(qemu, MARGIN_MS);
});

test("two workers' opens have one guard, the next worker keeps it and its deadline", async () => {
  const { stateId, open } = await openGuardedWorld();
  const links = await Promise.all([open(), open()]);
  const [guard, ...more] = await waitFor(() => {
    const found = findGuards(stateId);
    return found.length === 1 ? found : undefined; // the one that lost is on its way out
  });
  expect(more).toEqual([]);
  await links[0].keepUntil(60_000);
  expect(await links[0].refresh(1)).toEqual({ late: false });
  const next = await open();
  expect(findGuards(stateId)).toEqual([guard]);
  expect(next.leftMs()).toBeGreaterThan(50_000);
  expect(next.isAlive()).toBe(true);
});

test("a guard that is dismissed ends and leaves the VMs, also by order alone", async () => {
  const { world, stateId, place, qemu, open } = await openGuardedWorld();
  const first = await open();
  await first.refresh(2_000);
  await first.dismiss();
  expect(findGuards(stateId)).toEqual([]);
  const second = await open(); // finds the order to go and is there before it is replaced
  await second.refresh(60_000);
  await waitFor(() => second.isAlive());
  await writeOrder(world.stateDir, { bootId: bootId(), stateId, deadlineUptimeMs: null });
  await waitFor(() => findGuards(stateId).length === 0);
  await (await open()).refresh(60_000);
  await GuardLink.dismissAny(place);
  expect(findGuards(stateId)).toEqual([]);
  expect(isAlive(qemu)).toBe(true);
  await expectLogged(world, "leaving: dismissed");
});

test("the order of an earlier boot means nothing; one of another host's directory ends the guard", async () => {
  const { world, stateId, qemu, open } = await openGuardedWorld();
  await mkdir(guardFiles(world.stateDir).dir);
  await writeOrder(world.stateDir, { bootId: randomUUID(), stateId, deadlineUptimeMs: 1 });
  const link = await open();
  expect(link.leftMs()).toBe(Number.POSITIVE_INFINITY);
  expect(await link.refresh(60_000)).toEqual({ late: false });
  await writeOrder(world.stateDir, { bootId: bootId(), stateId: randomUUID(), deadlineUptimeMs: 1 });
  await waitFor(() => findGuards(stateId).length === 0);
  expect(isAlive(qemu)).toBe(true);
});

test("damage does not blind the guard: what it read last is in force", async () => {
  const { world, qemu, open } = await openGuardedWorld();
  const link = await open();
  await link.refresh(2_500);
  await waitFor(async () => (await stat(guardFiles(world.stateDir).log)).size > 0);
  await pastNextLook();
  await writeFile(guardFiles(world.stateDir).order, '{"v":1,"deadlineUp');
  await mkdir(world.paths.guarded); // where the note should stand
  await expectEnded(qemu, 2_500 + MARGIN_MS);
  await expectLogged(world, /deadline cannot be read[\s\S]*no note of the end[\s\S]*ended: sigterm/);
});

test("a missed deadline of a guard that is dead is made good by whoever refreshes", async () => {
  const { world, stateId, qemu, open } = await openGuardedWorld();
  const link = await open();
  await link.refresh(300);
  for (const guard of findGuards(stateId)) signalProcess(guard, "SIGSTOP");
  await waitFor(() => link.leftMs() < 0);
  expect(isAlive(qemu)).toBe(true);
  expect(await link.refresh(60_000)).toEqual({ late: true });
  expect(isAlive(qemu)).toBe(false);
  expect(await readGuardedNote(world.paths.guarded)).toBeDefined();
  expect(await link.refresh(60_000)).toEqual({ late: false });
});

test("a deadline counts from the moment that it was measured, and an overtaken answer does not move it back", async () => {
  const { world, open } = await openGuardedWorld();
  const link = await open();
  const deadline = async () => (await readOrder(world.stateDir))?.deadlineUptimeMs;
  const since = uptimeMs() - 1_000;
  await link.refresh(60_000, since);
  expect(await deadline()).toBe(since + 60_000);
  await link.refresh(60_000, since - 500);
  expect(await deadline()).toBe(since + 60_000);
  await link.refresh(60_000, since + 500);
  expect(await deadline()).toBe(since + 60_500);
  await link.keepUntil(3_600_000, since);
  const next = await open();
  await next.refresh(60_000, since + 600); // shorter patience than its predecessor's leave
  expect(await deadline()).toBe(since + 60_600);
});

test("a full disk refuses new files and still takes the deadline", async () => {
  const { world, stateId, open } = await openGuardedWorld();
  const link = await open();
  await link.refresh(60_000);
  const { dir, order } = guardFiles(world.stateDir);
  // No new file can be made here, as on a full disk; root is asked by a file in the way.
  await mkdir(`${order}.${process.pid}.tmp`);
  await chmod(dir, 0o500);
  onTestFinished(() => chmod(dir, 0o700));
  await link.refresh(3_600_000);
  expect(await readOrder(world.stateDir)).toEqual({
    bootId: bootId(),
    stateId,
    deadlineUptimeMs: expect.closeTo(uptimeMs() + 3_600_000, -4),
  });
});

test("a guard of another version is replaced, a stranger on its socket is not believed", async () => {
  const { stateId, world, open, place } = await openGuardedWorld();
  const old = await startStranger(["/x/guard-main.js", "0", world.stateDir, stateId]);
  const link = await open();
  expect(isAlive(old)).toBe(false);
  await link.dismiss();
  const server = createServer((socket) => socket.end(`${process.pid}\n`));
  await new Promise<void>((resolve) => server.listen(`\0drover-guard-${stateId}`, resolve));
  expect(await answeringGuard(stateId, 1_000)).toBeUndefined();
  server.close();
  await expect(GuardLink.open({ ...place, entry: "/nowhere/guard-main.js" })).rejects.toMatchObject({
    code: "internal_error",
    message: expect.stringMatching(/guard of this host could not be started: [\s\S]*Cannot find module/),
  });
});

test("a guard whose state directory is gone ends once no VM of it lives", async () => {
  const { world, stateId, qemu, open } = await openGuardedWorld();
  const link = await open();
  await link.refresh(3_000);
  await pastNextLook();
  await rm(world.stateDir, { recursive: true });
  await expectEnded(qemu, 3_000 + MARGIN_MS);
  await waitFor(() => findGuards(stateId).length === 0);
  await expect(open()).rejects.toMatchObject({ code: "internal_error" }); // and is not made anew for a guard
  expect(existsSync(world.stateDir)).toBe(false);
});

/** The guard looks at its order each second. */
async function pastNextLook(): Promise<void> {
  const seenMs = uptimeMs() + 1_200;
  await waitFor(() => uptimeMs() > seenMs);
}

/** A process that is no QEMU and carries these arguments. */
async function startStranger(
  args: readonly string[],
  { ignoresTerm = false, stateDir = "" }: { ignoresTerm?: boolean; stateDir?: string } = {},
): Promise<ProcessIdentity> {
  const own = stateDir === "" ? [] : ["-pidfile", vmPaths({ stateDir, vmId: args[1] ?? "", epoch: 1 }).pidFile];
  const script = `${ignoresTerm ? "trap '' TERM; " : ""}while :; do sleep 1; done`;
  const child = execa("sh", ["-c", script, "stranger", ...args, ...own], { reject: false, stdio: "ignore" });
  const pid = child.pid ?? 0;
  const stranger = { pid, startTimeTicks: readStartTime(pid) ?? 0 };
  onTestFinished(() => killProcess(stranger));
  return stranger;
}
