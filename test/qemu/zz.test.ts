import { test } from "vitest";
import { FAKE_QEMU, openVmWorld } from "./support/vm-world.ts";
test("deaf", async () => {
  await using world = await openVmWorld();
  const qemu = await world.start([...(await world.args()), "-fake", "deaf"], { binPath: FAKE_QEMU });
  console.log("started");
  const o = await qemu.stop({ bounds: { powerdownMs: 100, quitMs: 60_000, termMs: 5_000 } });
  console.log(o);
}, 5000);
