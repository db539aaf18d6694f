import { pino } from "pino";
import { expect, test } from "vitest";
import type { VmSpec } from "../../../src/contract/vm-request.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";
import { FetchLoop } from "../../../src/worker/fetch-loop.ts";
import { GpuSlot } from "../../../src/worker/gpu-slot.ts";
import { type Holder, hasAnyRoom, hasRoomFor, roomBeside } from "../../../src/worker/host-room.ts";
import { MemoryRoom, OWN_SIZE } from "../../../src/worker/memory-room.ts";
import { Mutex } from "../../../src/worker/mutex.ts";
import { recoverDirectory } from "../../../src/worker/recover.ts";
import { FakeClock } from "../../helpers/fake-clock.ts";
import { openFakeWorker } from "../../helpers/fake-worker.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
/** What each QEMU counts with beside its guest. */
const QEMU = 64 * MIB;
const BDF = "0000:41:00.0";

function memory(totalBytes: number, env: Readonly<Record<string, string>> = {}): MemoryRoom {
  const classes = { DROVER_MEMORY_CLASSES: "small=1G,large=8G" };
  return new MemoryRoom(loadConfig({ MANAGER_QEMU_MEMORY_SIZE: "2G", ...classes, ...env }).config, totalBytes);
}

test("a VM fits while all guests, with what each QEMU takes, leave the reserve free", () => {
  const room = memory(16 * GIB);
  expect(room.reservedBytes).toBe(GIB);
  expect([...room.fitting([])]).toEqual([OWN_SIZE, "small", "large"]);
  expect([...room.fitting([8 * GIB])], "no second large one").toEqual([OWN_SIZE, "small"]);
  expect(room.freeBytes([8 * GIB])).toBe(7 * GIB - QEMU);
  const six = [2, 2, 2, 2, 2, 2].map((gib) => gib * GIB);
  expect([...room.fitting(six)]).toEqual([OWN_SIZE, "small"]);
  expect([...room.fitting([...six, 2 * GIB])]).toEqual([]);
  expect(room.holds(OWN_SIZE)).toBe(7);
});

test("a small machine that nobody set up runs one VM; a class that is more than the whole machine it does not offer", () => {
  const room = memory(2 * GIB);
  expect(room.reservedBytes).toBe(GIB / 4);
  expect([...room.fitting([])]).toEqual([OWN_SIZE, "small"]);
  expect([...room.fitting([2 * GIB])]).toEqual([]);
  expect([...room.classes.keys()]).toEqual(["small"]);
  expect(room.tooLarge).toEqual(["large"]);
  expect(room.holds("large")).toBe(0);
  expect([...memory(GIB).fitting([])], "QEMU says in the VM's cause what is wrong").toEqual([OWN_SIZE, "small"]);
});

test("a reserve that an operator has set is kept whatever it costs; `off` counts nothing", () => {
  expect([...memory(4 * GIB, { DROVER_MEMORY_RESERVE: "3G" }).fitting([])]).toEqual([]);
  const off = memory(GIB, { DROVER_MEMORY_RESERVE: "off" });
  expect([...off.fitting([8 * GIB, 8 * GIB])]).toEqual([OWN_SIZE, "small", "large"]);
  expect(off.freeBytes([8 * GIB])).toBeNull();
  expect(off.holds("large")).toBeNull();
});

const holder = (spec: VmSpec = {}, over: Partial<Holder> = {}): Holder => ({
  spec,
  gpu: false,
  memoryBytes: undefined,
  ...over,
});

function roomOf(holders: readonly Holder[], over: Partial<Parameters<typeof roomBeside>[0]> = {}) {
  const gpu = new GpuSlot({ bdf: BDF, clock: new FakeClock() });
  return roomBeside({ maxVms: 0, memory: memory(16 * GIB), tee: { kind: "snp" }, gpu, freePorts: 9, ...over }, holders);
}

test("slots, ports, memory, keys and the GPU bound a host together; without MANAGER_MAX_VMS the others do", () => {
  expect(roomOf([])).toMatchObject({ slots: null, ports: 9, teeKeys: null, gpu: BDF });
  expect(hasAnyRoom(roomOf([holder(), holder()], { maxVms: 2 }))).toBe(false);
  expect(hasAnyRoom(roomOf([holder()], { maxVms: 2 }))).toBe(true);
  expect(hasAnyRoom(roomOf([], { freePorts: 0 }))).toBe(false);
  expect(hasAnyRoom(roomOf([holder({ memoryClass: "large" }), holder({}, { memoryBytes: 6.5 * GIB })]))).toBe(false);
});

test("a VM that says never confidential takes no key, any other one does", () => {
  const held = [holder(), holder({ tee: "snp" }), holder({ tee: "none" })];
  expect(roomOf(held, { teeKeys: 3 }).teeKeys).toBe(1);
  expect(hasAnyRoom(roomOf(held, { teeKeys: 2 }))).toBe(false);
  expect(roomOf(held, { teeKeys: 2, tee: { kind: "none" } }).teeKeys).toBe(2);
});

test("a pool is open while the largest VM of it would fit; the GPU is one VM's, with class and labels as without", () => {
  const full = roomOf([holder({ memoryClass: "large" }), holder({}, { gpu: BDF })]);
  const open = (pool: string) => hasRoomFor(full, pool);
  expect(open("default")).toBe(true);
  expect(open("default+mem.small+zone=a")).toBe(true);
  expect(open("default+mem.large")).toBe(false);
  expect(open("default+gpu")).toBe(false);
  expect(open("default+gpu+mem.small+zone=a")).toBe(false);
  expect(hasRoomFor(roomOf([]), "default+gpu+mem.small+zone=a")).toBe(true);
});

test("a live VM that a worker takes over counts with what it was launched with, whatever the host is set to now", async () => {
  const worker = openFakeWorker({ memoryBytes: 8 * GIB, env: { MANAGER_QEMU_MEMORY_SIZE: "2G" } });
  expect(worker.runs.hasRoom()).toBe(true);
  const left = worker.leave({ snapshot: { memoryBytes: String(6 * GIB) } });
  await recoverDirectory(worker.recover, left);
  await waitFor(() => worker.trace.includes("told: vm.adopted"));
  expect(worker.runs.room.memoryBytes).toBe(GIB - QEMU);
  expect(worker.runs.hasRoom()).toBe(false);
  worker.qemus[0]?.end({ kind: "guest-shutdown" });
  await worker.ended();
  expect(worker.runs.hasRoom()).toBe(true);
});

test("nothing is fetched from a pool whose VMs do not fit, and it is looked again soon", async () => {
  const seen: { pools: string[]; waited: number[] } = { pools: [], waited: [] };
  let stop: () => void = () => undefined;
  const loop = new FetchLoop({
    pools: { served: { gpu: [], others: ["a", "a+mem.large"] }, look: async () => false, expectNew: () => undefined },
    fitting: (pools) => pools.filter((pool) => pool === "a"),
    claims: {
      nextDelayedAtMs: async () => undefined,
      async fetch(pool) {
        seen.pools.push(pool);
        return undefined;
      },
    },
    waiter: {
      wait: (_pools, ms) => {
        seen.waited.push(ms);
        return new Promise((resolve) => {
          stop = () => resolve("nothing");
        });
      },
      stop: () => stop(),
    },
    mutex: new Mutex(),
    clock: new FakeClock(),
    logger: pino({ level: "silent" }),
    newToken: () => "token",
    hasRoom: () => true,
    roomChanged: () => new Promise(() => undefined),
    take: async () => undefined,
    strand: () => undefined,
  });
  loop.start();
  await waitFor(() => seen.waited.length > 0);
  await loop.stop();
  expect(seen).toEqual({ pools: ["a"], waited: [1_000] });
});
