import { randomBytes } from "node:crypto";
import { chmodSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { startDrover } from "../helpers/drover.ts";
import { launchPaths } from "../helpers/launch-paths.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { machineOf } from "../helpers/machine-of.ts";
import { removeAll } from "../helpers/shared-drover.ts";

const KEY = `test:${randomBytes(32).toString("base64")}`;
const NOBODY = { name: "nobody", uid: 65_534 };

/** Fields of /proc/<pid>/status. */
function statusOf(pid: number): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, "latin1").split("\n");
  return Object.fromEntries(lines.map((line) => [line.split(":")[0] ?? "", line.slice(line.indexOf("\t") + 1)]));
}

/** Every path below a directory, with what `stat` says of it. */
function everythingIn(dir: string): { path: string; uid: number; mode: number }[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" }).map((name) => {
    const { uid, mode } = statSync(join(dir, name));
    return { path: name, uid, mode: mode & 0o777 };
  });
}

test("QEMU runs as DROVER_QEMU_USER, may write nothing but its own files, and is taken over and removed", async ({
  skip,
}) => {
  if (process.getuid?.() !== 0) skip("only a worker that is root can start QEMU as another user");
  const env = { DROVER_QEMU_USER: NOBODY.name, DROVER_SECRETS_KEY: KEY };
  await using host = await startDrover({ rom: "obedient", worker: false, env });
  chmodSync(dirname(host.env["MANAGER_QEMU_DISK_IMG_KERNEL_FILE"] ?? ""), 0o755);
  const worker = await host.runWorker();
  const secret = Buffer.from("a key").toString("base64");
  const vmId = await host.submit({ agentCvmClientKey: secret, result: true });
  await host.until(vmId, "running");

  const { pid } = machineOf(vmId);
  const { Uid, Gid, NoNewPrivs, Seccomp, CapPrm, CapBnd, CapAmb } = statusOf(pid);
  expect(Uid?.split("\t")).toEqual(Array(4).fill(String(NOBODY.uid)));
  expect(Gid?.split("\t")).toEqual(Array(4).fill(String(NOBODY.uid)));
  expect({ NoNewPrivs, Seccomp }).toEqual({ NoNewPrivs: "1", Seccomp: "2" });
  expect([CapPrm, CapBnd, CapAmb].map((set) => Number.parseInt(set ?? "", 16))).toEqual([0, 0, 0]);
  expect(readFileSync(`/proc/${pid}/limits`, "latin1")).toMatch(/^Max core file size\s+0\s+0\s/m);
  expect(readFileSync(`/proc/${pid}/coredump_filter`, "latin1").trim()).toBe("00000000");

  const paths = launchPaths(host, vmId);
  const files = everythingIn(paths.dir);
  const ofQemu = files.filter(({ uid }) => uid === NOBODY.uid).map(({ path }) => path);
  expect(ofQemu.sort()).toEqual([
    "certs",
    "certs/ca.pem",
    "certs/cert.pem",
    "certs/key.pem",
    "env",
    "env/environment",
    "qemu.pid",
  ]);
  expect(files.filter(({ mode }) => (mode & 0o077) !== 0)).toEqual([]);
  expect(readFileSync(paths.key, "utf8")).toBe("a key");
  for (const dir of [host.stateDir, join(host.stateDir, "vms"), dirname(paths.dir), paths.dir]) {
    const { uid, mode } = statSync(dir);
    expect({ uid, mode: mode & 0o777 }, dir).toEqual({ uid: 0, mode: dir === host.stateDir ? 0o711 : 0o710 });
  }

  const before = machineOf(vmId);
  await worker.stop("keep");
  await host.runWorker();
  await host.untilEvent(vmId, "vm.adopted");
  expect(machineOf(vmId)).toEqual(before);
  await removeAll(host);
  await expectAgreement(host);
  expect(readdirSync(join(host.stateDir, "vms"))).toEqual([]);
});

test("a kernel that QEMU's user may not read is the kernel's fault, not the state directory's", async ({ skip }) => {
  if (process.getuid?.() !== 0) skip("only a worker that is root can start QEMU as another user");
  await using host = await startDrover({ rom: "obedient", worker: false, env: { DROVER_QEMU_USER: NOBODY.name } });
  const kernel = host.env["MANAGER_QEMU_DISK_IMG_KERNEL_FILE"] ?? "";
  chmodSync(dirname(kernel), 0o755);
  chmodSync(kernel, 0o600);
  await host.runWorker();
  const vmId = await host.submit();
  expect((await host.until(vmId, "failed")).cause).toMatchObject({ code: "kernel_missing" });
  await removeAll(host);
  await expectAgreement(host);
});
