import { mkdir, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";

/** As in src/contract/limits.ts: sockets below the state directory must fit the kernel's 107 bytes. */
const STATE_DIR_MAX_BYTES = 44;
const KERNEL_LINE =
  "quiet console=ttyS0 tsc=reliable no_timer_check random.trust_cpu=on mitigations=off cryptomgr.notests pti=off nokaslr";

/**
 * A state directory of the demo's own, so that it never meets another drover of this user.
 * @param {Readonly<Record<string, string | undefined>>} env
 * @param {string} home
 */
export async function demoStateDir(env, home) {
  const preferred = join(env["XDG_STATE_HOME"] || join(home, ".local/state"), "drover-demo");
  const path =
    Buffer.byteLength(preferred) <= STATE_DIR_MAX_BYTES ? preferred : join("/tmp", `drover-demo-${userInfo().uid}`);
  await mkdir(path, { recursive: true, mode: 0o700 });
  const { uid, mode } = await stat(path);
  // Below /tmp somebody else could have made it first.
  if (uid !== userInfo().uid || (mode & 0o022) !== 0)
    throw new Error(`${path} belongs to somebody else or others may write to it; remove it`);
  return path;
}

/**
 * What `drover up` gets: settings of the caller's own shell have no say, so that the demo is the same everywhere.
 * @param {Readonly<Record<string, string | undefined>>} env
 * @param {{ guestDir: string, stateDir: string, accel: "kvm" | "tcg", port: number }} options
 * @returns {Record<string, string | undefined>}
 */
export function demoEnvironment(env, { guestDir, stateDir, accel, port }) {
  const own = Object.entries(env).filter(([name]) => !/^(MANAGER_|COCOS_|DROVER_|REDIS_URL$)/.test(name));
  return {
    ...Object.fromEntries(own),
    TMPDIR: tmpdir(),
    DROVER_STATE_DIR: stateDir,
    DROVER_FIRMWARE: "seabios", // OVMF cannot load the vmlinux, which boots in a fraction of the time
    MANAGER_HTTP_HOST: "127.0.0.1",
    MANAGER_HTTP_PORT: String(port),
    MANAGER_GRPC_PORT: "0", // any free one: the demo speaks HTTP
    MANAGER_MAX_VMS: "4",
    DROVER_STOP_POWERDOWN_TIMEOUT: "3s", // a guest that boots does not hear the power button; Ctrl-C should not wait
    MANAGER_QEMU_ENABLE_KVM: String(accel === "kvm"),
    MANAGER_QEMU_CPU: "max", // what the accelerator has, without warnings about what it has not
    MANAGER_QEMU_MEMORY_SIZE: "256M",
    MANAGER_QEMU_MEMORY_SLOTS: "1",
    MANAGER_QEMU_MAX_MEMORY: "512M",
    MANAGER_QEMU_SMP_COUNT: "1",
    MANAGER_QEMU_SMP_MAXCPUS: "1",
    MANAGER_QEMU_DISK_IMG_KERNEL_FILE: join(guestDir, "vmlinux"),
    MANAGER_QEMU_DISK_IMG_ROOTFS_FILE: join(guestDir, "rootfs.cpio"),
    MANAGER_QEMU_KERNEL_CMDLINE: KERNEL_LINE,
  };
}

/**
 * The wished port, or another one that is free and lies outside the VMs' range.
 * @param {number} wished
 * @returns {Promise<number>}
 */
export async function freeHttpPort(wished) {
  for (const port of [wished, 7103, 8003, 0]) {
    const got = await tryPort(port);
    if (got !== undefined) return got;
  }
  throw new Error("no free port was found for the API");
}

/**
 * @param {number} port
 * @param {string} [host]
 * @returns {Promise<number | undefined>} the port, when it could be listened on
 */
export function tryPort(port, host = "127.0.0.1") {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ port, host, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : undefined));
    });
  });
}
