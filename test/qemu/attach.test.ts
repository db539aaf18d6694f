import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { type AttachOptions, attachQemu } from "../../src/qemu/attach-qemu.ts";
import { connectQmp } from "../../src/qemu/qmp-connect.ts";
import type { RunningQemu } from "../../src/qemu/running-qemu.ts";
import { bootId, isAlive, isStopped, signalProcess } from "../../src/runtime/process-identity.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openVmWorld, STOP_BOUNDS, startOrphan, type VmWorld } from "./support/vm-world.ts";

/** What a worker has on disk of a VM whose own worker is gone. */
function recorded(world: VmWorld, { pid, startTimeTicks }: Pick<RunningQemu, "pid" | "startTimeTicks">): AttachOptions {
  return {
    pid,
    startTimeTicks,
    bootId: bootId(),
    vmId: world.vmId,
    paths: world.paths,
    rings: { console: true, result: true },
    qmpTimeoutMs: 5_000,
    signal: new AbortController().signal,
    onObservation: (observation) => world.observations.push(observation),
  };
}

test("a QEMU whose worker has died is taken over: not our child, and stopped all the same", async () => {
  await using world = await openVmWorld();
  const orphan = await startOrphan(world, await world.args("obedient"));
  expect((await readFile(`/proc/${orphan.pid}/stat`, "latin1")).split(") ")[1]?.split(" ")[1]).not.toBe(
    String(process.pid),
  );
  const qemu = world.own(await attachQemu(recorded(world, orphan)));
  expect({ pid: qemu.pid, startTimeTicks: qemu.startTimeTicks }).toEqual(orphan);
  expect((await qemu.stop({ bounds: STOP_BOUNDS })).rung).toBe("powerdown");
  expect(await qemu.ended).toEqual({ kind: "guest-shutdown" });
  expect(isAlive(orphan)).toBe(false);
});

test.each(["SIGKILL", "SIGTERM"] as const)(
  "the death of a stranger's child by %s is seen soon, its exit code never",
  async (signal) => {
    await using world = await openVmWorld();
    const orphan = await startOrphan(world, await world.args("idle"));
    const qemu = world.own(await attachQemu(recorded(world, orphan)));
    signalProcess(orphan, signal);
    expect(await qemu.ended).toEqual({
      kind: "exited",
      exitCode: null,
      signal: null,
      reason: signal === "SIGTERM" ? "host-signal" : null,
    });
    expect(world.observations).toEqual([]);
  },
);

test("a stopped QEMU of another parent is killed, and its death proved", async () => {
  await using world = await openVmWorld();
  const orphan = await startOrphan(world, await world.args("idle"));
  const qemu = world.own(await attachQemu(recorded(world, orphan)));
  signalProcess(orphan, "SIGSTOP");
  await waitFor(() => isStopped(orphan));
  expect((await qemu.stop({ bounds: STOP_BOUNDS })).rung).toBe("sigkill");
  expect(isAlive(orphan)).toBe(false);
});

test("after a detach the same QEMU is taken over again, and the console goes on where it was", async () => {
  await using world = await openVmWorld();
  const first = await world.start(await world.args("hello"));
  await waitFor(async () => (await first.drainOutputs()).console.includes("guest"));
  await first.detach();
  expect(isAlive(first)).toBe(true);
  const second = world.own(await attachQemu(recorded(world, first)));
  expect((await second.drainOutputs()).console).toBe("hello from the guest\n");
  await second.stop({ bounds: { ...STOP_BOUNDS, powerdownMs: 0 } });
});

test.each([
  ["poweroff", "guest-shutdown"],
  ["panic", "guest-panicked"],
] as const)("an end while nobody watched is seen at once: %s", async (guest, kind) => {
  await using world = await openVmWorld();
  const first = await world.start(await world.args(guest));
  await first.ended;
  await first.detach();
  const second = world.own(await attachQemu(recorded(world, first)));
  expect(await second.ended).toEqual({ kind });
  expect((await second.stop({ bounds: STOP_BOUNDS })).rung).toBe("quit");
});

test("a hung predecessor that holds the first monitor does not keep us out", async () => {
  await using world = await openVmWorld();
  const orphan = await startOrphan(world, await world.args("idle"));
  const holder = await connectQmp({ socketPath: world.paths.qmpSocket, timeoutMs: 5_000, isAlive: () => true });
  const qemu = world.own(await attachQemu({ ...recorded(world, orphan), qmpTimeoutMs: 300 }));
  expect((await qemu.stop({ bounds: STOP_BOUNDS, forced: AbortSignal.abort() })).rung).toBe("quit");
  holder.close();
});

test("what is not the VM of the record is left alone", async () => {
  await using world = await openVmWorld();
  const running = await world.start(await world.args("idle"));
  await running.detach();
  const record = recorded(world, running);
  await expect(attachQemu({ ...record, bootId: "another" })).rejects.toMatchObject({ reason: "gone" });
  await expect(attachQemu({ ...record, startTimeTicks: 1 })).rejects.toMatchObject({ reason: "gone" });
  const other = "00000000-0000-4000-8000-000000000000";
  await expect(attachQemu({ ...record, vmId: other })).rejects.toMatchObject({ reason: "not-ours" });
  const reason = new Error("worker ends");
  await expect(attachQemu({ ...record, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  signalProcess(running, "SIGSTOP");
  await waitFor(() => isStopped(running));
  await expect(attachQemu({ ...record, qmpTimeoutMs: 200 })).rejects.toMatchObject({ reason: "busy" });
  expect(isAlive(running)).toBe(true);
});
