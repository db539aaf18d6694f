import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { wasOutOfMemory } from "../../../src/qemu/cgroup-memory.ts";
import { causeOfEnd } from "../../../src/qemu/classify-failure.ts";
import { findLimitWay } from "../../../src/qemu/find-limit-way.ts";
import { Limiter } from "../../../src/qemu/limiter.ts";
import { qemuLimits } from "../../../src/qemu/qemu-limits.ts";
import { vmPaths } from "../../../src/qemu/vm-paths.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";

const GIB = 1024 ** 3;
const PID = 4711;
const PATHS = vmPaths({ stateDir: "/s", vmId: "0b6f5f1e-0000-4000-8000-000000000001", epoch: 3 });
const LIMITS = { memoryBytes: 3 * GIB, cpuPercent: 500, tasks: 320 };
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "dq-limits-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

/** A system with cgroup v2, in which the worker stands in `own`. */
function withCgroup(own: string, controllers = "cpuset cpu io memory pids"): void {
  put("proc/self/mountinfo", "30 1 0:26 / /proc rw - proc proc rw\n31 1 0:27 / /cg rw - cgroup2 cgroup rw\n");
  put(`proc/${PID}/cgroup`, `0::${own}\n`);
  put("cg/unit/cgroup.controllers", `${controllers}\n`);
  mkdirSync(join(root, "cg", own), { recursive: true });
}

const find = (limits: "auto" | "cgroup" | "systemd" | "off", uid = 0) =>
  findLimitWay({ limits, user: undefined, memoryOverheadBytes: GIB }, "use", { root, uid, pid: PID });
const read = (path: string) => readFileSync(join(root, path), "latin1");

test("a QEMU may use the guest's memory with the overhead, and a processor more than the guest has", () => {
  const { config } = loadConfig({ HOME: "/", MANAGER_QEMU_MEMORY_SIZE: "2048M", MANAGER_QEMU_SMP_COUNT: "4" });
  expect(qemuLimits(config)).toEqual({ memoryBytes: 3 * GIB, cpuPercent: 500, tasks: 64 + 256 });
});

test("a worker that stands in a cgroup of its own uses the one above it", () => {
  withCgroup("/unit/worker");
  put("run/systemd/system/x", "");
  expect(find("auto", 1000)).toEqual({ kind: "cgroup", base: join(root, "cg/unit") });
  expect(read("cg/unit/cgroup.subtree_control")).toBe("+memory +cpu +pids");
});

test("without systemd the worker moves out of the way first; with it that would bar its next start", () => {
  withCgroup("/unit");
  expect(find("cgroup")).toEqual({ kind: "cgroup", base: join(root, "cg/unit") });
  expect(read("cg/unit/worker/cgroup.procs")).toBe(String(PID));
  put("run/systemd/system/x", "");
  expect(() => find("cgroup")).toThrow(/DelegateSubgroup=worker/);
});

test("where nothing can be had `auto` says why and any named way is refused", () => {
  expect(find("auto")).toEqual({
    kind: "off",
    reason: "this machine was not started by systemd; there is no cgroup v2",
  });
  expect(() => find("systemd")).toThrow(/DROVER_QEMU_LIMITS="systemd" cannot be had: this machine was not started/);
  withCgroup("/unit", "hugetlb cpu");
  expect(() => find("cgroup")).toThrow(/cgroup v2 has no memory, pids here/);
  put("run/systemd/system/x", "");
  expect(find("auto", 1000)).toMatchObject({ kind: "off", reason: expect.stringMatching(/only root may ask systemd/) });
  expect(find("off")).toEqual({ kind: "off" });
});

test("a launch gets a cgroup with the limits before the process has done anything, and empty ones are deleted", () => {
  const limiter = new Limiter({ kind: "cgroup", base: root }, LIMITS, "/s");
  limiter.enter(PID, PATHS);
  const [name = ""] = readdirSync(root);
  expect(name).toMatch(/^drover-[0-9a-f]{8}-0b6f5f1e-0000-4000-8000-000000000001-3$/);
  const files = Object.fromEntries(readdirSync(join(root, name)).map((file) => [file, read(`${name}/${file}`)]));
  expect(files).toEqual({
    "memory.max": String(3 * GIB),
    "cpu.max": "500000 100000",
    "pids.max": "320",
    "cgroup.procs": String(PID),
  });

  const [empty, others] = [`${name}0`, "drover-00000000-somebody-1"];
  for (const dir of [empty, others]) mkdirSync(join(root, dir));
  limiter.sweep();
  expect(readdirSync(root).sort()).toEqual([name, others].sort());
});

test("under systemd the command stands behind a scope with the same limits", () => {
  const limiter = new Limiter({ kind: "systemd", systemdRun: "/usr/bin/systemd-run" }, LIMITS, "/s");
  const command = limiter.wrap(["/usr/bin/qemu", "-uuid", "x"], PATHS);
  expect(command.slice(0, 4)).toEqual(["/usr/bin/systemd-run", "--scope", "--quiet", "--collect"]);
  for (const property of [`MemoryMax=${3 * GIB}`, "CPUQuota=500%", "TasksMax=320"])
    expect(command).toContain(`--property=${property}`);
  expect(command.slice(-4)).toEqual(["--", "/usr/bin/qemu", "-uuid", "x"]);
  limiter.enter(PID, PATHS);
  expect(existsSync(join(root, "memory.max"))).toBe(false);
});

test("a QEMU that the kernel killed for its memory ran out of memory, and was not killed by somebody", () => {
  const exited = { kind: "exited", exitCode: null, signal: "SIGKILL", reason: null } as const;
  put("drover-x/memory.events", "low 0\noom 1\noom_kill 1\n");
  put("drover-y/memory.events", "low 0\noom 0\noom_kill 0\n");
  expect(["drover-x", "drover-y", "drover-z"].map((name) => wasOutOfMemory(name, [root]))).toEqual([
    true,
    false,
    false,
  ]);
  expect(causeOfEnd({ ...exited, outOfMemory: true }, "")).toMatchObject({ code: "memory_exhausted" });
  expect(causeOfEnd(exited, "")).toMatchObject({ code: "qemu_killed" });
});
