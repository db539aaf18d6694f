import { expect, test } from "vitest";
import { LiveConsole } from "../../src/queue/live-console.ts";
import { openQueueWorld } from "../helpers/queue-world.ts";

test("only the launch that has the VM writes its console, and a late piece brings nothing back after the end", async () => {
  await using world = openQueueWorld();
  const console = new LiveConsole({ redis: world.redis, keys: world.keys });
  const vmId = await world.submit();
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing was fetched");
  const launch = world.identity(job);
  await world.launches.prepare(launch, {});
  const piece = { vmId, token: launch.token, data: Buffer.from("first words"), skippedBytes: 0 };
  expect(await console.append({ ...piece, token: "stranger" })).toBe(false);
  expect(await console.append(piece)).toBe(true);
  expect(await console.read(vmId)).toEqual({ startOffset: 0, data: piece.data });

  await world.launches.move(launch, {
    to: "failed",
    event: {
      type: "vm.failed",
      data: { cause: { code: "guest_panic", message: "" }, attempt: 1, host: launch.host, epoch: 1, exitCode: null },
    },
    progress: {},
    leave: { box: "keep", tail: { console: "c", qemu: "q" }, final: true, keepMs: 60_000 },
  });
  expect(await console.append(piece)).toBe(false);
  expect(await console.read(vmId)).toBeUndefined();
});
