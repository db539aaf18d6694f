import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { dirname, join } from "node:path";

/**
 * How much memory this machine has for processes, in bytes: that of the kernel, or the least that a cgroup of this
 * process allows (a container's, a unit's). `rootDir` stands before /proc and /sys. Never throws.
 */
export function detectMemoryBytes(rootDir = "/"): number {
  const total = /^MemTotal: +(\d+) kB$/m.exec(readText(join(rootDir, "proc/meminfo")))?.[1];
  const totalBytes = total === undefined ? totalmem() : Number(total) * 1024;
  return Math.min(totalBytes, ...cgroupLimits(rootDir));
}

/** How many keys for confidential VMs the hardware has, where the kernel tells; undefined: nobody knows. Never throws. */
export function detectTeeKeys(kind: "none" | "snp" | "tdx", rootDir = "/"): number | undefined {
  if (kind === "none") return undefined;
  // SEV-SNP guests take from the same ASIDs as SEV-ES guests. `max` tells no number.
  const name = kind === "snp" ? "sev_es" : "tdx";
  const value = new RegExp(`^${name} (\\d+)$`, "m").exec(readText(join(rootDir, "sys/fs/cgroup/misc.capacity")))?.[1];
  return value === undefined ? undefined : Number(value);
}

/** The limits of this process's cgroups, its own and those above, in bytes: of version 2, and of version 1 of memory. */
function cgroupLimits(rootDir: string): readonly number[] {
  const table = readText(join(rootDir, "proc/self/cgroup"));
  const unified = /^0::(.*)$/m.exec(table)?.[1];
  const memory = /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(table)?.[1];
  const files = [
    ...pathsUp(unified).map((path) => join("sys/fs/cgroup", path, "memory.max")),
    ...pathsUp(memory).map((path) => join("sys/fs/cgroup/memory", path, "memory.limit_in_bytes")),
  ];
  return files.flatMap((file) => {
    const limit = /^(\d+)$/m.exec(readText(join(rootDir, file)))?.[1];
    return limit === undefined ? [] : [Number(limit)]; // `max`: no limit here
  });
}

function pathsUp(path: string | undefined): readonly string[] {
  if (path === undefined) return [];
  const up = dirname(path);
  return up === path ? [path] : [path, ...pathsUp(up)];
}

/** Empty where the file cannot be read: then it limits nothing. */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
