import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findLaunchesOf } from "../../src/qemu/process-scan.ts";
import { killProcess } from "../../src/runtime/end-process.ts";
import { startRedis } from "../../test/helpers/redis-server.ts";
import { writeStubKernel } from "../../test/helpers/rom-machine.ts";

/** Redis with AOF, and what hosts of the benchmark have in common. */
export interface FleetWorld {
  readonly dir: string;
  readonly redisUrl: string;
  /** For the programs of the hosts. */
  readonly hostsDir: string;
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** Opens a world whose hosts take `qemu` for QEMU. */
export async function openFleetWorld(qemu: string): Promise<FleetWorld> {
  const dir = mkdtempSync(join(tmpdir(), "drf-"));
  const hostsDir = join(dir, "hosts");
  mkdirSync(hostsDir);
  const redis = await startRedis({ local: true, dir, args: ["--appendonly", "yes", "--appendfsync", "everysec"] });
  const kernel = join(dir, "kernel");
  writeStubKernel(kernel);
  writeFileSync(join(dir, "initrd"), Buffer.alloc(512));
  const env = {
    HOME: dir,
    DROVER_REDIS_URL: redis.url,
    DROVER_HOST_LOST: "hold", // else each host had a guard, a process that has nothing to do here
    DROVER_FIRMWARE: "seabios",
    DROVER_WORKER_METRICS: "off",
    COCOS_JAEGER_TRACE_RATIO: "0",
    MANAGER_QEMU_BIN_PATH: qemu,
    MANAGER_QEMU_ENABLE_KVM: "false",
    MANAGER_QEMU_CPU: "max",
    MANAGER_QEMU_MEMORY_SIZE: "32M",
    MANAGER_QEMU_MAX_MEMORY: "64M",
    MANAGER_QEMU_SMP_COUNT: "1",
    MANAGER_QEMU_SMP_MAXCPUS: "1",
    MANAGER_QEMU_DISK_IMG_KERNEL_FILE: kernel,
    MANAGER_QEMU_DISK_IMG_ROOTFS_FILE: join(dir, "initrd"),
    MANAGER_LOG_LEVEL: "warn",
  };
  return {
    dir,
    redisUrl: redis.url,
    hostsDir,
    env,
    async close() {
      for (const host of readdirSync(hostsDir))
        await Promise.all(findLaunchesOf(join(hostsDir, host)).map((qemuProcess) => killProcess(qemuProcess)));
      await redis.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
