import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { vmPaths } from "../../src/qemu/vm-paths.ts";
import { PortSlots } from "../../src/queue/port-slots.ts";
import { poolQueueName } from "../../src/queue/redis-keys.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { killProcess } from "../../src/runtime/end-process.ts";
import { bootId, isAlive, readStartTime } from "../../src/runtime/process-identity.ts";
import { applyFixes, type FixOutcome } from "../../src/worker/doctor/apply-fix.ts";
import type { Check } from "../../src/worker/doctor/check.ts";
import { withPatient } from "../../src/worker/doctor/examine.ts";
import { startRedis } from "../helpers/redis-server.ts";
import { openRedisWorld } from "../helpers/redis-world.ts";
import { type CliSetting, runCli } from "../unit/cli/run-cli.ts";

const HOST_ID = "doctor-host";

interface Report {
  readonly checks: readonly Check[];
  readonly fixes?: readonly FixOutcome[];
  readonly problems: number;
}

/** A state directory of a host whose worker is gone, and a Redis that knows things about it. */
function openPatient(url?: string) {
  const world = openRedisWorld();
  const stateDir = mkdtempSync(join(tmpdir(), "doc-"));
  const stateId = randomUUID();
  onTestFinished(async () => {
    rmSync(stateDir, { recursive: true, force: true });
    await world[Symbol.asyncDispose]();
  });
  writeFileSync(join(stateDir, "host.json"), JSON.stringify({ v: 1, hostId: HOST_ID, stateId }));
  // Whether this machine has KVM must not matter.
  writeFileSync(join(stateDir, "accelerator.json"), JSON.stringify({ accel: "tcg", reason: "tests" }));
  const kernel = join(stateDir, "kernel");
  writeFileSync(kernel, "");
  const env = {
    HOME: stateDir,
    DROVER_REDIS_URL: url ?? world.url,
    DROVER_REDIS_PREFIX: world.keys.prefix,
    DROVER_STATE_DIR: stateDir,
    DROVER_FIRMWARE: "seabios",
    MANAGER_QEMU_DISK_IMG_KERNEL_FILE: kernel,
    MANAGER_QEMU_DISK_IMG_ROOTFS_FILE: kernel,
    MANAGER_QEMU_ENABLE_KVM: "false",
    MANAGER_QEMU_MEMORY_SIZE: "64M",
    MANAGER_QEMU_HOST_FWD_RANGE: "11900-11909",
  };
  const run = (words: readonly string[], setting: CliSetting = {}) => runCli(["doctor", ...words], { env, ...setting });
  const token = `${HOST_ID}:${stateId}:${bootId()}:aa`;
  return {
    ...world,
    stateDir,
    stateId,
    token,
    env,
    run,
    async report(words: readonly string[] = []): Promise<Report> {
      return JSON.parse((await run([...words, "--json"])).out) as Report;
    },
    record: (vmId: string, fields: Record<string, string | number>) =>
      world.redis.hset(world.keys.record(vmId), fields),
    directory(vmId: string, epoch: number): string {
      const { dir } = vmPaths({ stateDir, vmId, epoch });
      mkdirSync(dir, { recursive: true });
      return dir;
    },
    /** A process with the command line of a launch. */
    async process(vmId: string, epoch: number) {
      const { pidFile } = vmPaths({ stateDir, vmId, epoch });
      const args = ["-c", "sleep 60; :", "x", "-uuid", vmId, "-pidfile", pidFile];
      const child = execa("sh", args, { reject: false, stdio: "ignore" });
      const pid = child.pid ?? 0;
      const identity = { pid, startTimeTicks: readStartTime(pid) ?? 0 };
      onTestFinished(() => killProcess(identity));
      return identity;
    },
  };
}

function ids({ checks }: Report): readonly string[] {
  return checks.filter(({ area, status }) => area === "vms" && status !== "ok").map(({ id }) => id);
}

test("a host without worker and VMs is well, and the text fits 80 columns", async () => {
  const { run } = openPatient();
  const { out, exitCode } = await run([]);
  expect(out).toMatch(/^Host\n {2}ok {7}VMs run without KVM/);
  expect(out).toContain("no VM here, and nothing is left of any");
  expect(out).toContain("no problems, ");
  expect(Math.max(...out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  expect(exitCode).toBe(0);
});

test("what is wrong is found in both directions, and a look changes nothing", async () => {
  const patient = openPatient();
  const { redis, keys, stateDir, token, stateId } = patient;
  const [ended, lost, damaged] = [randomUUID(), randomUUID(), randomUUID()];
  const process = await patient.process(ended, 1);
  patient.directory(ended, 1);
  await patient.record(ended, { state: "completed", epoch: 1 });
  await redis.set(keys.lease(HOST_ID), JSON.stringify({ stateId: randomUUID(), bootId: bootId() }));
  await redis.sadd(keys.pools, "default");
  await redis.rpush(keys.bull(poolQueueName("default"), "active"), lost);
  await redis.set(keys.bull(poolQueueName("default"), `${lost}:lock`), token);
  await patient.record(damaged, { state: "flying", epoch: 1 });
  patient.directory(damaged, 1);
  mkdirSync(join(stateDir, "quarantine", "one"), { recursive: true });
  const before = await redis.keys(`${keys.prefix.replace(/[{}]/g, "\\$&")}*`);
  const report = await patient.report();
  expect([...ids(report)].sort()).toEqual(
    [
      "process_outlived",
      "job_unknown",
      "record_damaged",
      "files_left",
      "lease_of_another",
      "quarantine",
      "guard_dead",
    ].sort(),
  );
  expect(report.problems).toBe(6);
  expect((await redis.keys(`${keys.prefix.replace(/[{}]/g, "\\$&")}*`)).sort()).toEqual(before.sort());
  expect(isAlive(process)).toBe(true);
  expect(readdirSync(join(stateDir, "vms"))).toHaveLength(2);
  expect(stateId).toBeDefined();
});

test("--fix ends what has ended, gives back its port and deletes its files, and nothing that is needed", async () => {
  const patient = openPatient();
  const { redis, keys, stateDir, token } = patient;
  const [ended, forgotten, unfinished] = [randomUUID(), randomUUID(), randomUUID()];
  const outlived = await patient.process(ended, 1);
  const needed = await patient.process(forgotten, 1);
  patient.directory(ended, 1);
  patient.directory(forgotten, 1);
  patient.directory(unfinished, 1);
  writeFileSync(vmPaths({ stateDir, vmId: unfinished, epoch: 1 }).record, "{}"); // damaged: for a worker to judge
  await patient.record(ended, { state: "removed", epoch: 1 });
  const slots = new PortSlots({ redis, keys, bootId: bootId(), range: { first: 11_900, last: 11_909, reserved: [] } });
  const other = randomUUID();
  const held = await slots.take({ vmId: other, epoch: 4, token });
  const neighbours = await slots.take({ vmId: randomUUID(), epoch: 1, token: "h2:other-state:boot:x" });

  const first = await patient.report(["--fix", "--yes"]);
  expect(first.fixes?.map(({ fix, outcome }) => [fix.kind, outcome])).toEqual([
    ["end_process", "done"],
    ["give_port", "done"],
  ]);
  expect(isAlive(outlived)).toBe(false);
  expect((await slots.list()).map(({ port }) => port)).toEqual([neighbours]);
  expect(held).not.toBe(neighbours);

  const second = await patient.report(["--fix", "--yes"]); // the files had a process until now
  expect(second.fixes?.map(({ fix, outcome }) => [fix.kind, outcome])).toEqual([["remove_directory", "done"]]);
  expect(existsSync(vmPaths({ stateDir, vmId: ended, epoch: 1 }).dir)).toBe(false);

  expect(isAlive(needed)).toBe(true); // Redis has merely forgotten it
  expect(readdirSync(join(stateDir, "vms")).sort()).toEqual([forgotten, unfinished].sort());
});

test("nothing is deleted beside a live worker", async () => {
  const patient = openPatient();
  const vmId = randomUUID();
  patient.directory(vmId, 1);
  await patient.record(vmId, { state: "completed", epoch: 1 });
  const worker = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => worker.listen(`\0drover-worker-${patient.stateId}`, resolve));
  expect(ids(await patient.report(["--fix", "--yes"]))).toEqual(["lease_missing", "guard_dead"]);
  worker.close();
  expect(ids(await patient.report())).toEqual(["files_left"]);
});

test("--fix asks for each kind, and does what was agreed to only", async () => {
  const patient = openPatient();
  const vmId = randomUUID();
  const dir = patient.directory(vmId, 1);
  const nobody = await patient.run(["--fix"]);
  expect(nobody.exitCode).toBe(2);
  expect(nobody.err).toContain("--yes");
  const no = await patient.run(["--fix"], { answer: "" });
  expect(no.err).toContain(`  vms/${vmId}/1\nDelete the files of this launch? [y/N] `);
  expect(no.exitCode).toBe(1);
  expect(existsSync(dir)).toBe(true);
  const yes = await patient.run(["--fix"], { answer: "y" });
  expect(yes.out).toContain(`mended   vms/${vmId}/1\nNow: no problems,`);
  expect(yes.exitCode).toBe(0);
  expect(existsSync(dir)).toBe(false);
});

test("what was agreed to is looked at again: a worker that has come meanwhile keeps its files", async () => {
  const patient = openPatient();
  const vmId = randomUUID();
  const dir = patient.directory(vmId, 1);
  const [fix] = (await patient.report()).checks.flatMap((check) => check.fix ?? []);
  expect(fix).toEqual({ kind: "remove_directory", vmId, epoch: 1 });
  if (fix === undefined) return;
  const worker = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => worker.listen(`\0drover-worker-${patient.stateId}`, resolve));
  const { config } = loadConfig(patient.env);
  const logger = pino({ level: "silent" });
  const outcomes = await withPatient({ config, logger }, (found) => applyFixes(found, [fix]));
  expect(outcomes).toEqual([{ fix, outcome: "gone" }]);
  expect(existsSync(dir)).toBe(true);
  worker.close();
});

test("a Redis that would drop VMs is told and put right", async () => {
  await using server = await startRedis({ local: true, args: ["--maxmemory-policy", "allkeys-lru"] });
  const patient = openPatient(server.url);
  const { out } = await patient.run([]);
  expect(out).toContain("maxmemory-policy is allkeys-lru");
  expect(out).toContain("writes no append-only file");
  expect(out).toContain("drover doctor --fix mends 1 of them");
  expect((await patient.report(["--fix", "--yes"])).fixes).toEqual([
    { fix: { kind: "set_noeviction" }, outcome: "done" },
  ]);
  expect((await patient.report()).problems).toBe(0);
});

test("without Redis the rest is told, soon, and a fault in the state directory is a finding", async () => {
  const patient = openPatient("redis://127.0.0.1:1");
  patient.directory(randomUUID(), 1);
  const { checks } = await patient.report();
  // What this machine lacks is not this test's affair.
  const found = checks.filter(({ status, area }) => status !== "ok" && area !== "host");
  expect(found.map(({ id }) => id)).toEqual(["redis", "files_left"]);
  writeFileSync(join(patient.stateDir, "host.json"), "{");
  expect(ids(await patient.report())).toEqual(["state_dir_unreadable"]);
});
