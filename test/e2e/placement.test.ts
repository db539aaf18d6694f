import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { detectMemoryBytes } from "../../src/qemu/host-memory.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { removeStateDir, startDrover } from "../helpers/drover.ts";
import { removeAll } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";

const MIB = 2 ** 20;
/** All of this machine's memory but what the VMs of one of the hosts may have. */
const allBut = (mib: number) => `${Math.floor(detectMemoryBytes() / MIB) - mib}M`;

test("VMs come to hosts that have their class and labels, get its memory, and wait where it does not hold them", async () => {
  await using scope = new Scope(); // ends after both workers
  const dir = scope.own(mkdtempSync(join(tmpdir(), "drv-b-")), removeStateDir);
  await using drover = await startDrover({ rom: "obedient", worker: false });
  const a = await drover.runWorker({
    MANAGER_INSTANCE_ID: "a",
    DROVER_HOST_LABELS: "zone=a",
    DROVER_MEMORY_CLASSES: "small=48M",
  });
  const tight = {
    DROVER_STATE_DIR: dir,
    MANAGER_INSTANCE_ID: "b",
    DROVER_HOST_LABELS: "zone=b,disk=ssd",
    DROVER_MEMORY_CLASSES: "small=40M,large=128M",
    DROVER_MEMORY_RESERVE: allBut(300), // one large one and a small one; each QEMU counts with 64 MiB more
  };
  const b = await drover.runWorker(tight);

  const large = await drover.submit({ memoryClass: "large" });
  const smallOfA = await drover.submit({ memoryClass: "small", hostLabels: { zone: "a" } });
  expect(await drover.until(large, "running")).toMatchObject({
    host: b.hostId,
    pool: "default",
    command: expect.stringContaining(" -m 128M,slots="),
  });
  expect(await drover.until(smallOfA, "running")).toMatchObject({
    host: a.hostId,
    command: expect.stringContaining(" -m 48M,"),
  });
  expect(await drover.client.hget(drover.keys.record(large), "memoryBytes")).toBe(String(128 * MIB));

  const second = await drover.submit({ memoryClass: "large" });
  const smallOfB = await drover.submit({ memoryClass: "small", hostLabels: { disk: "ssd" } });
  expect((await drover.until(smallOfB, "running")).host, "what is smaller passes by").toBe(b.hostId);
  await waitFor(async () => (await drover.get(second)).waiting?.reason === "memory_full");
  expect(await drover.get(second)).toMatchObject({
    state: "queued",
    epoch: 0,
    waiting: { position: 1, hostsThatFit: 1 },
  });

  await b.stop("keep");
  const again = await drover.runWorker({ ...tight, DROVER_MEMORY_CLASSES: "small=8M,large=128M" });
  await drover.untilEvent(large, "vm.adopted");
  await drover.untilEvent(smallOfB, "vm.adopted");
  const plain = await drover.submit({ hostLabels: { zone: "b" } }); // 32M: what the VMs there were launched with leaves no room
  await waitFor(async () => (await drover.get(plain)).waiting?.reason === "memory_full");
  await drover.remove(plain);
  await drover.remove(large, "?force");
  expect((await drover.until(second, "running")).host).toBe(again.hostId);
  await removeAll(drover);
});
