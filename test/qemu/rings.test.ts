import { randomBytes } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { RESULT_MAX_BYTES } from "../../src/contract/limits.ts";
import { lastGuestResult } from "../../src/contract/result-frame.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openVmWorld, STOP_BOUNDS, type VmWorld } from "./support/vm-world.ts";

const QUICK = { ...STOP_BOUNDS, powerdownMs: 0 };

/** Writes into a ring as a guest would, through the rescue monitor. QEMU reads commands slowly: 4 us for each byte. */
async function writeRing(world: VmWorld, device: "console" | "result", bytes: Buffer): Promise<void> {
  const socket = connect(world.paths.qmpRescueSocket);
  let answers = "";
  socket.on("error", () => undefined);
  socket.on("data", (chunk) => {
    answers += chunk.toString();
  });
  const commands = ['{"execute":"qmp_capabilities"}'];
  for (let at = 0; at < bytes.length; at += 100_000) {
    const data = bytes.subarray(at, at + 100_000).toString("base64");
    commands.push(JSON.stringify({ execute: "ringbuf-write", arguments: { device, data, format: "base64" } }));
  }
  socket.write(commands.join("\n"));
  await waitFor(() => answers.split('"return"').length - 1 === commands.length);
  socket.destroy();
}

test("binary output of any kind comes through unchanged", async () => {
  await using world = await openVmWorld();
  const chunks: Buffer[] = [];
  const qemu = await world.start(await world.args(), { onConsole: ({ bytes }) => chunks.push(bytes) });
  const sent = randomBytes(100_000);
  await writeRing(world, "console", sent);
  await qemu.drainOutputs();
  expect(Buffer.concat(chunks).equals(sent)).toBe(true);
});

test("the last complete result is found in a port that was flooded, also by a worker that reads only what is on disk", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start(await world.args());
  const payload = randomBytes(RESULT_MAX_BYTES);
  const message = Buffer.concat([
    Buffer.from(`drover-result exit=7 length=${payload.length}\n`),
    payload,
    Buffer.from("\n"),
  ]);
  const unfinished = message.subarray(0, message.length - 10);
  await writeRing(world, "result", Buffer.concat([randomBytes(150_000), message, unfinished]));
  const { result } = await qemu.drainOutputs();
  expect(lastGuestResult(result)?.exitCode).toBe(7);
  expect(lastGuestResult(result)?.payload.equals(payload)).toBe(true);
  expect((await stat(world.paths.result)).size).toBeLessThanOrEqual(256 * 1024);
  expect(lastGuestResult(await readFile(world.paths.result))?.exitCode).toBe(7);
});

test("what stands in the rings when a VM is stopped is read before, politely or by force", async () => {
  for (const forced of [new AbortController().signal, AbortSignal.abort()]) {
    await using world = await openVmWorld();
    const qemu = await world.start(await world.args());
    await qemu.drainOutputs(); // the reader's own first turn is over: the next one is seconds away
    await writeRing(world, "console", Buffer.from("last words\n"));
    await writeRing(world, "result", Buffer.from("drover-result exit=0 length=2\nok\n"));
    await qemu.stop({ bounds: QUICK, forced });
    const outputs = await qemu.drainOutputs();
    expect(outputs.console).toBe("last words\n");
    expect(lastGuestResult(outputs.result)?.payload.toString()).toBe("ok");
  }
});
