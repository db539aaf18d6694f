import { stat } from "node:fs/promises";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { findByUuid } from "../../src/qemu/process-scan.ts";
import { connectQmp } from "../../src/qemu/qmp-connect.ts";
import { forwardIsBound } from "../../src/qemu/user-network.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { FAKE_QEMU, freePort, openVmWorld, STOP_BOUNDS } from "./support/vm-world.ts";

test.each([
  ["no-greeting", "qemu_unresponsive"],
  ["garbage", "qemu_unresponsive"],
  ["endless-line", "qemu_unresponsive"],
  ["wrong-uuid", "internal"],
  ["internal-error", "qemu_crashed"],
  ["dies-with-3", "qemu_crashed"],
])("a monitor with '%s' fails the start as %s and leaves no process", async (behaviour, code) => {
  await using world = await openVmWorld();
  const args = [...(await world.args()), "-fake", behaviour];
  const starting = world.start(args, { binPath: FAKE_QEMU, qmpTimeoutMs: behaviour === "no-greeting" ? 500 : 20_000 });
  await expect(starting).rejects.toMatchObject({ failure: { code } });
  expect(findByUuid(world.vmId)).toEqual([]);
});

test("the fake is as strict about its command line as QEMU", async () => {
  await using world = await openVmWorld();
  const start = async (...more: string[]) => world.start([...(await world.args()), ...more], { binPath: FAKE_QEMU });
  await expect(start("-frobnicate")).rejects.toMatchObject({ failure: { code: "qemu_option_invalid" } });
  await expect(start("-netdev", "user,id=a,b,hostfwd=tcp::1-:2")).rejects.toMatchObject({
    failure: { code: "qemu_option_invalid" },
  });
  const port = await freePort();
  const qemu = await world.start(
    [...(await world.args()), "-netdev", `user,id=n,hostfwd=tcp:127.0.0.1:${port}-:7002`, "-fake", "prelaunch"],
    {
      binPath: FAKE_QEMU,
      expectedPort: port,
    },
  );
  expect((await qemu.stop({ bounds: STOP_BOUNDS })).rung).toBe("powerdown");
});

test("a connection that breaks is made again, and what happened meanwhile is asked for", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start([...(await world.args()), "-fake", "drops-client"], { binPath: FAKE_QEMU });
  await waitFor(() => world.observations.some(({ kind }) => kind === "monitor-back"));
  expect(world.observations.map(({ kind }) => kind)).toEqual(["monitor-lost", "monitor-back"]);
  expect((await qemu.stop({ bounds: { ...STOP_BOUNDS, powerdownMs: 0 } })).rung).toBe("quit");
});

test("a guest that ends while it is being started is a start, with its end", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start([...(await world.args()), "-fake", "panics"], { binPath: FAKE_QEMU });
  expect(await qemu.ended).toEqual({ kind: "guest-panicked" });
});

test("a QEMU that prints without end does not fill the disk", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start([...(await world.args()), "-fake", "noisy"], { binPath: FAKE_QEMU });
  await waitFor(async () => (await stat(world.paths.qemuLog)).size <= 256 * 1024, { timeoutMs: 15_000 });
  const { qemu: text } = await qemu.drainOutputs();
  expect(text.split("\n").length).toBeLessThanOrEqual(201);
  expect(text).toContain("xxxx");
});

test("a monitor that another client holds is busy, not dead, and serves us when that has left", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start(await world.args("idle"));
  const dial = { socketPath: world.paths.qmpSocket, isAlive: () => true };
  await expect(connectQmp({ ...dial, timeoutMs: 100 })).rejects.toMatchObject({ code: "busy" });
  const waiting = connectQmp({ ...dial, timeoutMs: 20_000 });
  await qemu.detach();
  const client = await waiting;
  expect(await client.execute("query-status", {}, { timeoutMs: 5_000 })).toEqual(
    expect.objectContaining({ running: true }),
  );
  expect(await client.execute("query-name", {}, { timeoutMs: 5_000 })).toEqual({ name: `drover-${world.vmId}-1` });
  expect((await client.execute("query-version", {}, { timeoutMs: 5_000 })).qemu.major).toBeGreaterThanOrEqual(7);
  expect(await forwardIsBound(client, 1, 5_000)).toBe(false);
  client.close();
});

test("so many clients that the kernel refuses more are busy as well", async () => {
  await using world = await openVmWorld();
  await world.start(await world.args("idle"));
  const crowd = Array.from({ length: 4 }, () => connect(world.paths.qmpSocket).on("error", () => undefined));
  try {
    await waitFor(() => crowd.filter((socket) => !socket.connecting).length >= 2);
    const dial = { socketPath: world.paths.qmpSocket, isAlive: () => true, timeoutMs: 100 };
    await expect(connectQmp(dial)).rejects.toMatchObject({ code: "busy" });
  } finally {
    for (const socket of crowd) socket.destroy();
  }
});
