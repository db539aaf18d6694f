import { chmod, mkdir, readdir, readFile, readlink, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findByUuid } from "../../src/qemu/process-scan.ts";
import { isAlive, type ProcessIdentity, readStartTime } from "../../src/runtime/process-identity.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { freePort, openVmWorld, STOP_BOUNDS } from "./support/vm-world.ts";

const network = (port: number) => [
  ...["-netdev", `user,id=n,hostfwd=tcp:127.0.0.1:${port}-:7002`],
  ...["-device", "virtio-net-pci,netdev=n,romfile="],
];

test("a QEMU that runs is known by pid and start time, holds its port, and nothing of ours", async () => {
  await using world = await openVmWorld();
  process.env["DROVER_SECRETS_KEY"] = "must-not-be-seen";
  const port = await freePort();
  const noted: ProcessIdentity[] = [];
  const qemu = await world
    .start([...(await world.args("idle")), ...network(port)], {
      expectedPort: port,
      onSpawned: async ({ pid, startTimeTicks }) => {
        noted.push({ pid, startTimeTicks });
      },
    })
    .finally(() => delete process.env["DROVER_SECRETS_KEY"]);
  const { pid, startTimeTicks } = qemu;
  expect(noted).toEqual([{ pid, startTimeTicks }]);
  expect(startTimeTicks).toBe(readStartTime(pid));
  expect(findByUuid(world.vmId)).toEqual([{ pid, startTimeTicks, uuid: world.vmId }]);
  expect(Number(await readFile(world.paths.pidFile, "utf8"))).toBe(pid);

  const links = await Promise.all(["0", "1", "2"].map((fd) => readlink(`/proc/${pid}/fd/${fd}`)));
  expect(links).toEqual(["/dev/null", world.paths.qemuLog, world.paths.qemuLog]);
  const fields = (await readFile(`/proc/${pid}/stat`, "latin1")).split(") ")[1]?.split(" ") ?? [];
  expect(Number(fields[3]), "session").toBe(pid);
  expect(await readFile(`/proc/${pid}/environ`, "latin1")).not.toContain("must-not-be-seen");
  expect((await readFile(`/proc/${pid}/status`, "latin1")).match(/Umask:\s*(\d+)/)?.[1]).toBe("0077");
  await waitFor(async () => Number.parseInt(await readFile(`/proc/${pid}/coredump_filter`, "latin1"), 16) === 0);
  for (const name of await readdir(world.paths.dir)) {
    expect((await stat(join(world.paths.dir, name))).mode & 0o077, name).toBe(0);
  }
  await qemu.stop({ bounds: STOP_BOUNDS, forced: AbortSignal.abort() });
  expect(isAlive({ pid, startTimeTicks })).toBe(false);
});

test("a machine that was started stopped is let go", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start([...(await world.args()), "-S"]);
  expect(qemu.isUnresponsive).toBe(false);
});

test("a port that somebody holds is port_taken, and nothing is left", async () => {
  await using world = await openVmWorld();
  const holder = createServer();
  await new Promise<void>((resolve) => holder.listen(0, "127.0.0.1", resolve));
  try {
    const address = holder.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const args = [...(await world.args("idle")), ...network(port)];
    await expect(world.start(args, { expectedPort: port })).rejects.toMatchObject({ failure: { code: "port_taken" } });
    expect(findByUuid(world.vmId)).toEqual([]);
    // The next port in the same directory, as the worker does it.
    const next = await freePort();
    const again = [...(await world.args("idle")), ...network(next)];
    await world.start(again, { expectedPort: next });
  } finally {
    holder.close();
  }
});

test("a QEMU that has not bound the port of its VM does not count as running", async () => {
  await using world = await openVmWorld();
  const starting = world.start(await world.args("idle"), { expectedPort: await freePort() });
  await expect(starting).rejects.toMatchObject({ failure: { code: "internal" } });
  expect(findByUuid(world.vmId)).toEqual([]);
});

test("an abort at any moment of the start leaves no process", async () => {
  await using world = await openVmWorld();
  const reason = new Error("removed");
  const args = await world.args("idle");
  await expect(world.start(args, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  for (const afterMs of [0, 1, 10, 25, 40]) {
    const stop = new AbortController();
    const starting = world.start(args, {
      signal: stop.signal,
      onSpawned: async () => {
        setTimeout(() => stop.abort(reason), afterMs);
      },
    });
    const outcome = await starting.catch((error: unknown) => error);
    if (outcome === reason) expect(findByUuid(world.vmId), `abort after ${afterMs} ms`).toEqual([]);
    else await starting.then((qemu) => qemu.stop({ bounds: STOP_BOUNDS, forced: AbortSignal.abort() }));
  }
});

test("when pid and start time cannot be put on disk there is no VM", async () => {
  await using world = await openVmWorld();
  const full = new Error("ENOSPC");
  const starting = world.start(await world.args("idle"), { onSpawned: () => Promise.reject(full) });
  await expect(starting).rejects.toBe(full);
  expect(findByUuid(world.vmId)).toEqual([]);
});

test("a missing, unusable or silent binary is told apart", async () => {
  await using world = await openVmWorld();
  const args = await world.args();
  const start = (binPath: string) => world.start(args, { binPath, qmpTimeoutMs: 300 });
  await expect(start("no-such-qemu")).rejects.toMatchObject({ failure: { code: "qemu_missing" } });
  const script = join(world.stateDir, "qemu");
  await writeFile(script, "#!/bin/sh\nexec sleep 60\n");
  await expect(start(script)).rejects.toMatchObject({ failure: { code: "qemu_missing" } });
  await chmod(script, 0o700);
  await expect(start(script)).rejects.toMatchObject({ failure: { code: "qemu_unresponsive" } });
  await writeFile(script, "#!/bin/sh\necho 'sudo: qemu: command not found' >&2\nexit 127\n");
  await expect(start(script)).rejects.toMatchObject({ failure: { code: "qemu_missing" } });
  await mkdir(join(world.stateDir, "dir"));
  await expect(start(join(world.stateDir, "dir"))).rejects.toMatchObject({ failure: { code: "qemu_missing" } });
});

test("a directory that is gone is the state directory's fault", async () => {
  await using world = await openVmWorld();
  const paths = { ...world.paths, qemuLog: join(world.stateDir, "absent", "qemu.log") };
  await expect(world.start(await world.args(), { paths })).rejects.toMatchObject({
    failure: { code: "state_dir_unusable" },
  });
});
