import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { diskKind, diskSizeGib } from "../../../src/qemu/disk-image.ts";
import { formatOf } from "../../../src/qemu/disk-source.ts";
import { Heartbeat } from "../../../src/qemu/heartbeat.ts";
import { endOfEvent, endOfStatus, hostShutdownReason } from "../../../src/qemu/qemu-end.ts";
import { TIME_UP, waitUntil, within } from "../../../src/runtime/bounded-wait.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "setTimeout", "clearInterval", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const event = (name: string, data: Record<string, unknown> = {}) => ({ name, data, atMs: 0 });

test.each([
  [event("SHUTDOWN", { guest: true, reason: "guest-shutdown" }), { kind: "guest-shutdown" }],
  [event("SHUTDOWN", { guest: true, reason: "guest-reset" }), { kind: "guest-reset" }],
  [event("SHUTDOWN", { guest: true, reason: "guest-panic" }), { kind: "guest-panicked" }],
  [event("GUEST_PANICKED", { action: "pause" }), { kind: "guest-panicked" }],
  [event("GUEST_PANICKED", { action: "poweroff" }), { kind: "guest-panicked" }],
  [event("GUEST_PANICKED", { action: "run" }), undefined],
  [event("SHUTDOWN", { guest: false, reason: "host-signal" }), undefined],
  [event("SHUTDOWN", { guest: "yes" }), undefined],
  [event("RESET", { guest: true, reason: "guest-reset" }), undefined],
  [event("POWERDOWN"), undefined],
  [event("STOP"), undefined],
])("an event is an end or it is not: %j", (given, end) => {
  expect(endOfEvent(given)).toEqual(end);
});

test("a status shows an end to who has missed it, and a host's wish is told apart", () => {
  expect(endOfStatus("shutdown")).toEqual({ kind: "guest-shutdown" });
  expect(endOfStatus("guest-panicked")).toEqual({ kind: "guest-panicked" });
  expect(endOfStatus("internal-error")).toEqual({ kind: "internal-error" });
  for (const status of ["running", "paused", "prelaunch", "io-error"]) expect(endOfStatus(status)).toBeUndefined();
  expect(hostShutdownReason(event("SHUTDOWN", { guest: false, reason: "host-qmp-quit" }))).toBe("host-qmp-quit");
  expect(hostShutdownReason(event("SHUTDOWN", { guest: true, reason: "guest-shutdown" }))).toBeUndefined();
});

function heartbeat(ask: () => Promise<unknown>) {
  const said: string[] = [];
  const world = { heardMs: performance.now(), asked: 0, said };
  const beat = new Heartbeat({
    timing: { intervalMs: 2_000, silentAfterMs: 6_000 },
    lastHeardMs: () => world.heardMs,
    ask: () => {
      world.asked += 1;
      return ask();
    },
    onSilent: () => said.push("silent"),
    onBack: () => said.push("back"),
  });
  beat.start();
  return { world, beat };
}

test("a QEMU that talks anyway is not asked", async () => {
  const { world, beat } = heartbeat(() => Promise.resolve());
  for (let turn = 0; turn < 20; turn += 1) {
    world.heardMs = performance.now();
    await vi.advanceTimersByTimeAsync(1_000);
  }
  expect(world.asked).toBe(0);
  expect(world.said).toEqual([]);
  beat.stop();
});

test("silence is reported once, with one question open at a time, and so is the return", async () => {
  const { world, beat } = heartbeat(() => new Promise(() => undefined));
  await vi.advanceTimersByTimeAsync(20_000);
  expect(world.said).toEqual(["silent"]);
  expect(world.asked).toBe(1);
  expect(beat.isSilent).toBe(true);
  world.heardMs = performance.now();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(world.said).toEqual(["silent", "back"]);
  beat.stop();
});

test("a stall of our own is not taken for QEMU's silence", async () => {
  const { world, beat } = heartbeat(async () => {
    world.heardMs = performance.now();
  });
  world.heardMs -= 60_000;
  await vi.advanceTimersByTimeAsync(10_000);
  expect(world.said).toEqual([]);
  beat.stop();
});

test("waits give back the value, the time or the reason, and no timer is left", async () => {
  expect(await within(Promise.resolve(1), 60_000)).toBe(1);
  const never = within(new Promise(() => undefined), 50);
  await vi.advanceTimersByTimeAsync(50);
  expect(await never).toBe(TIME_UP);
  const reason = new Error("off");
  await expect(within(new Promise(() => undefined), 50, AbortSignal.abort(reason))).rejects.toBe(reason);
  await expect(within(Promise.reject(reason), 50)).rejects.toBe(reason);
  expect(await waitUntil(() => true, { timeoutMs: 0, intervalMs: 1 })).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
});

test("a wait of a year does not end at once", async () => {
  let ended = false;
  void within(new Promise(() => undefined), 365 * 24 * 3600 * 1000).then(() => {
    ended = true;
  });
  await vi.advanceTimersByTimeAsync(3600 * 1000);
  expect(ended).toBe(false);
});

test("a disk is as large as Cocos makes it, and an overlay only between two qcow2", () => {
  const gib = 1024 ** 3;
  expect([1, gib, gib + 1, 20 * gib].map(diskSizeGib)).toEqual([2, 2, 3, 21]);
  const qcow2 = { format: "qcow2", virtualSizeBytes: 1 };
  expect(diskKind({ mode: "overlay", format: "qcow2" }, qcow2)).toBe("overlay");
  expect(diskKind({ mode: "copy", format: "qcow2" }, qcow2)).toBe("copy");
  expect(diskKind({ mode: "overlay", format: "raw" }, qcow2)).toBe("copy");
  expect(diskKind({ mode: "overlay", format: "qcow2" }, { ...qcow2, format: "raw" })).toBe("copy");
});

test("a format is told by the first bytes, and what is unknown is raw", () => {
  expect(formatOf(Buffer.from([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]))).toBe("qcow2");
  expect(formatOf(Buffer.from("KDMV"))).toBe("vmdk");
  expect(formatOf(Buffer.concat([Buffer.alloc(64), Buffer.from([0x7f, 0x10, 0xda, 0xbe])]))).toBe("vdi");
  expect(formatOf(Buffer.from('{"driver": "nbd"}'))).toBe("raw");
  expect(formatOf(Buffer.alloc(0))).toBe("raw");
});
