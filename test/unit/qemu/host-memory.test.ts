import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { detectMemoryBytes, detectTeeKeys } from "../../../src/qemu/host-memory.ts";

const GIB = 2 ** 30;
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "dq-memory-"));
  put("proc/meminfo", `MemTotal:       ${16 * 2 ** 20} kB\nMemFree:         1 kB\n`);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

test("the memory is that of the kernel where no cgroup says less", () => {
  put("proc/self/cgroup", "0::/system.slice/drover.service\n");
  put("sys/fs/cgroup/system.slice/drover.service/memory.max", "max\n");
  expect(detectMemoryBytes(root)).toBe(16 * GIB);
});

test("the least counts that a cgroup of this process or one above it allows, of either version", () => {
  put("proc/self/cgroup", "4:cpu,memory:/docker/x\n0::/system.slice/drover.service\n");
  put("sys/fs/cgroup/system.slice/drover.service/memory.max", "max\n");
  put("sys/fs/cgroup/system.slice/memory.max", `${8 * GIB}\n`);
  expect(detectMemoryBytes(root)).toBe(8 * GIB);
  put("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", `${4 * GIB}\n`);
  expect(detectMemoryBytes(root)).toBe(4 * GIB);
  put("sys/fs/cgroup/memory.max", `${2 * GIB}\n`); // a container sees its own limit at the root
  expect(detectMemoryBytes(root)).toBe(2 * GIB);
});

test("where the kernel says nothing, Node's own number stands", () => {
  rmSync(join(root, "proc"), { recursive: true });
  expect(detectMemoryBytes(root)).toBe(totalmem());
});

test("keys for confidential VMs are counted where the kernel tells their number", () => {
  expect(detectTeeKeys("snp", root)).toBeUndefined();
  put("sys/fs/cgroup/misc.capacity", "sev 410\nsev_es 99\ntdx 31\n");
  expect([detectTeeKeys("snp", root), detectTeeKeys("tdx", root), detectTeeKeys("none", root)]).toEqual([
    99,
    31,
    undefined,
  ]);
  put("sys/fs/cgroup/misc.capacity", "sev_es max\n");
  expect(detectTeeKeys("snp", root)).toBeUndefined();
});
