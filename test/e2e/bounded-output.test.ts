import { expect, test } from "vitest";
import { LIVE_CONSOLE_MAX_BYTES, TAIL_MAX_BYTES, TAIL_MAX_LINES } from "../../src/contract/limits.ts";
import { isFinal } from "../../src/contract/vm-state.ts";
import { startDrover } from "../helpers/drover.ts";
import { bytesBelow } from "../helpers/machine-traces.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorkerProcess } from "../helpers/worker-process.ts";

const MIB = 1024 * 1024;
const host = sharedDrover();

test("a guest that writes without end to console and result port leaves disk and Redis flat, and its result is right", async () => {
  const { client, keys, stateDir } = host();
  const before = await redisBytes();
  const vmId = await host().submit({ agentCvmServerUrl: "demo:flood:128:3", result: true });
  const seen = { disk: 0, window: 0, redis: 0 };
  await waitFor(
    async () => {
      seen.disk = Math.max(seen.disk, bytesBelow(stateDir));
      seen.window = Math.max(seen.window, await client.hstrlen(keys.console(vmId), "data"));
      seen.redis = Math.max(seen.redis, await redisBytes());
      return isFinal((await host().get(vmId)).state);
    },
    { timeoutMs: 100_000, intervalMs: 50, what: "the end of the flood" },
  );
  expect(seen.disk).toBeLessThan(MIB);
  expect(seen.window, "it was watched while it lived").toBeGreaterThan(0);
  expect(seen.window).toBeLessThan(LIVE_CONSOLE_MAX_BYTES * 1.5); // base64, and the offsets of its chunks
  expect(seen.redis - before).toBeLessThan(2 * MIB);
  const vm = await host().get(vmId);
  expect(vm).toMatchObject({ state: "completed", result: { exitCode: 0, text: "wrote 128 MB" } });
  expect(vm.tail?.console.length).toBeLessThanOrEqual(TAIL_MAX_BYTES);
  expect(vm.tail?.console.trimEnd().split("\n").length).toBeLessThanOrEqual(TAIL_MAX_LINES);
  expect(vm.tail?.console, "its very end is there").toContain("powering off");
});

test("it stays flat while no worker runs", async () => {
  await using alone = await startDrover({ rom: "flood", worker: false });
  await using worker = await startWorkerProcess(alone.env);
  const vmId = await alone.submit();
  await alone.until(vmId, "running");
  await worker.kill();
  const sizes: number[] = [];
  await waitFor(() => sizes.push(bytesBelow(alone.stateDir)) >= 20, {
    intervalMs: 100,
    what: "twenty looks at the disk",
  });
  expect(Math.max(...sizes)).toBeLessThan(MIB);
  await alone.runWorker();
  await alone.untilEvent(vmId, "vm.adopted");
  await alone.remove(vmId, "?force=true");
  await alone.until(vmId, "removed");
});

async function redisBytes(): Promise<number> {
  const info = await host().client.info("memory");
  return Number(/^used_memory:(\d+)/m.exec(info)?.[1]);
}
