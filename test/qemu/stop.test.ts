import { expect, test } from "vitest";
import { isAlive, isStopped, signalProcess } from "../../src/runtime/process-identity.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { FAKE_QEMU, openVmWorld, STOP_BOUNDS } from "./support/vm-world.ts";

const fake = async (world: Awaited<ReturnType<typeof openVmWorld>>, behaviour: string) =>
  world.start([...(await world.args()), "-fake", behaviour], { binPath: FAKE_QEMU });

test("a guest that heeds its power button goes down by itself", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start(await world.args("obedient"));
  const { rung } = await qemu.stop({ bounds: STOP_BOUNDS });
  expect(rung).toBe("powerdown");
  expect(await qemu.ended).toEqual({ kind: "guest-shutdown" });
  expect(isAlive(qemu)).toBe(false);
});

test("a guest that does not is made to, after its time", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start(await world.args("idle"));
  const { rung, tookMs } = await qemu.stop({ bounds: { ...STOP_BOUNDS, powerdownMs: 100 } });
  expect(rung).toBe("quit");
  expect(tookMs).toBeGreaterThanOrEqual(100);
  expect(await qemu.ended).toMatchObject({ kind: "exited", exitCode: 0, reason: "host-qmp-quit" });
});

test("force asks no guest, and may come while one is being asked", async () => {
  await using world = await openVmWorld();
  const bounds = { ...STOP_BOUNDS, powerdownMs: 60_000 };
  const first = await world.start(await world.args("idle"));
  expect((await first.stop({ bounds, forced: AbortSignal.abort() })).rung).toBe("quit");
  const second = await world.start(await world.args("idle"));
  const polite = second.stop({ bounds });
  const force = new AbortController();
  const forced = second.stop({ bounds, forced: force.signal });
  force.abort();
  expect((await forced).rung).toBe("quit");
  expect(await polite).toEqual(await forced);
});

test("a stopped QEMU is killed at once: it could hear nothing else", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start(await world.args("idle"));
  signalProcess(qemu, "SIGSTOP");
  await waitFor(() => isStopped(qemu));
  const { rung, tookMs } = await qemu.stop({ bounds: { powerdownMs: 60_000, quitMs: 60_000, termMs: 60_000 } });
  expect(rung).toBe("sigkill");
  expect(tookMs).toBeLessThan(900); // less than the monitor would be waited for
  expect(await qemu.ended).toMatchObject({ kind: "exited", signal: "SIGKILL" });
});

test("a hung QEMU is reported as such, and comes back", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start(await world.args("idle"), { heartbeat: { intervalMs: 40, silentAfterMs: 120 } });
  const kinds = () => world.observations.map(({ kind }) => kind);
  signalProcess(qemu, "SIGSTOP");
  await waitFor(() => kinds().includes("unresponsive"));
  expect(qemu.isUnresponsive).toBe(true);
  signalProcess(qemu, "SIGCONT");
  await waitFor(() => kinds().includes("responsive"));
  expect(kinds()).toEqual(["unresponsive", "responsive"]);
  expect((await qemu.stop({ bounds: { ...STOP_BOUNDS, powerdownMs: 0 } })).rung).toBe("quit");
});

test("a monitor that says yes to quit and does nothing: SIGTERM", async () => {
  await using world = await openVmWorld();
  const qemu = await fake(world, "ignores-powerdown+ignores-quit");
  expect((await qemu.stop({ bounds: { powerdownMs: 30, quitMs: 50, termMs: 5_000 } })).rung).toBe("sigterm");
  expect(await qemu.ended).toMatchObject({ kind: "exited", exitCode: 0 });
});

test("a QEMU that ignores everything: SIGKILL", async () => {
  await using world = await openVmWorld();
  const qemu = await fake(world, "ignores-powerdown+ignores-quit+ignores-term");
  expect((await qemu.stop({ bounds: { powerdownMs: 30, quitMs: 50, termMs: 50 } })).rung).toBe("sigkill");
  expect(isAlive(qemu)).toBe(false);
});

test("a monitor that is deaf to the power button is not asked to quit either", async () => {
  await using world = await openVmWorld();
  const qemu = await fake(world, "deaf");
  const { rung, tookMs } = await qemu.stop({ bounds: { powerdownMs: 100, quitMs: 60_000, termMs: 5_000 } });
  expect(rung).toBe("sigterm");
  expect(tookMs).toBeLessThan(5_000);
});

test("stopping what is stopped already is no error", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start(await world.args());
  await qemu.stop({ bounds: { ...STOP_BOUNDS, powerdownMs: 0 } });
  expect((await qemu.stop({ bounds: STOP_BOUNDS })).rung).toBe("quit");
  await qemu.detach();
  await qemu.detach();
});
