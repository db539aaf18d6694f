import { readFileSync } from "node:fs";
import { basename, join } from "node:path";

const MOUNT_POINTS = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] as const;

/**
 * The cgroup of a launch, asked for while the process lives. It shows afterwards whether the kernel killed the process
 * because it met its limit of memory. Undefined where the process has no cgroup of its own.
 */
export function launchCgroup(pid: number): string | undefined {
  try {
    const [, path = ""] = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "latin1")) ?? [];
    return basename(path).startsWith("drover-") ? path : undefined;
  } catch {
    return undefined; // it has ended
  }
}

/** Whether the kernel has killed a process of this cgroup for want of memory. False where that cannot be told any more. */
export function wasOutOfMemory(cgroup: string | undefined, mountPoints: readonly string[] = MOUNT_POINTS): boolean {
  if (cgroup === undefined) return false;
  return mountPoints.some((mountPoint) => {
    try {
      const events = readFileSync(join(mountPoint, cgroup, "memory.events"), "latin1");
      return Number(/^oom_kill (\d+)$/m.exec(events)?.[1] ?? 0) > 0;
    } catch {
      return false; // the cgroup is gone, or has no such file
    }
  });
}
