import { readFile, stat } from "node:fs/promises";
import { expect, test } from "vitest";
import { isAlive, signalProcess } from "../../src/runtime/process-identity.ts";
import { waitFor } from "../helpers/wait-for.ts";
import type { RomGuest } from "./support/rom-guest.ts";
import { openVmWorld, STOP_BOUNDS } from "./support/vm-world.ts";

const QUICK = { powerdownMs: 0, quitMs: 5_000, termMs: 5_000 };

test.each<readonly [RomGuest, readonly string[], string]>([
  ["poweroff", [], "guest-shutdown"],
  ["panic", [], "guest-panicked"],
  ["reboot", ["-no-reboot"], "guest-reset"],
])("a guest that does '%s' %j ends its VM as %s, and QEMU waits to be told", async (guest, more, kind) => {
  await using world = await openVmWorld();
  // Started stopped and let go by the supervisor: these guests end within a millisecond, and no event is told to a
  // client that has not connected yet.
  const qemu = await world.start([...(await world.args(guest)), ...more, "-S"]);
  expect(await qemu.ended).toEqual({ kind });
  expect(isAlive(qemu)).toBe(true);
  await waitFor(() => qemu.lastQmpEvent?.name === "STOP");
  const { rung } = await qemu.stop({ bounds: STOP_BOUNDS });
  expect(rung).toBe("quit");
  expect(isAlive(qemu)).toBe(false);
});

test("a guest that ended before anybody could listen is seen by QEMU's status", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start(await world.args("panic"));
  expect(await qemu.ended).toEqual({ kind: "guest-panicked" });
});

test("a guest that reboots goes on, and is not reported a thousand times", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start(await world.args("reboot"));
  const reboots = () => world.observations.filter(({ kind }) => kind === "guest-rebooted").length;
  await waitFor(() => reboots() >= 2);
  expect(reboots()).toBeLessThan(10);
  await qemu.stop({ bounds: QUICK });
  expect(await qemu.ended).toMatchObject({ kind: "exited", exitCode: 0, reason: "host-qmp-quit" });
});

test.each([
  ["SIGKILL", { kind: "exited", exitCode: null, signal: "SIGKILL", reason: null }],
  ["SIGTERM", { kind: "exited", exitCode: 0, signal: null, reason: "host-signal" }],
  ["SIGSEGV", { kind: "exited", exitCode: null, signal: "SIGSEGV", reason: null }],
] as const)("a %s from outside is seen, with how it ended", async (signal, end) => {
  await using world = await openVmWorld();
  const qemu = await world.start(await world.args("idle"));
  signalProcess(qemu, signal);
  expect(await qemu.ended).toEqual(end);
  expect((await qemu.stop({ bounds: STOP_BOUNDS })).rung).toBe("already-dead");
  expect(world.observations).toEqual([]);
});

test("what a guest wrote is there after its end, in file and result, and still when QEMU is gone", async () => {
  await using world = await openVmWorld();
  let seen = "";
  const qemu = await world.start(await world.args("hello"), {
    onConsole: ({ bytes }) => {
      seen += bytes.toString();
    },
  });
  await waitFor(() => seen.includes("hello from the guest\r\n"));
  expect((await qemu.drainOutputs()).console).toBe("hello from the guest\n");
  await qemu.stop({ bounds: QUICK });
  expect((await qemu.drainOutputs()).console).toBe("hello from the guest\n");
  expect(await readFile(world.paths.consoleLog, "utf8")).toBe("hello from the guest\r\n");
});

test("a guest that writes without end fills neither disk nor memory, and can be stopped", async () => {
  await using world = await openVmWorld();
  let bytes = 0;
  let skipped = 0;
  const qemu = await world.start(await world.args("flood"), {
    onConsole: (chunk) => {
      bytes += chunk.bytes.length;
      if (chunk.skipped) skipped += 1;
    },
  });
  await waitFor(() => skipped >= 2, { timeoutMs: 30_000 });
  expect(bytes).toBeGreaterThan(1024 * 1024);
  expect((await stat(world.paths.consoleLog)).size).toBeLessThanOrEqual(256 * 1024);
  const { tookMs } = await qemu.stop({ bounds: QUICK });
  expect(tookMs).toBeLessThan(5_000);
  const { console } = await qemu.drainOutputs();
  expect(Buffer.byteLength(console)).toBeLessThanOrEqual(3 * 64 * 1024); // invalid bytes show as three
  expect((await stat(world.paths.consoleLog)).size).toBeLessThanOrEqual(256 * 1024);
});
